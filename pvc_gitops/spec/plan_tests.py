"""`tests/*.yaml` of a repository to rules, or to every problem in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pvc_gitops.errors import SpecError
from pvc_gitops.model.document import Kind, Spec
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.values import dataclass
from pvc_gitops.spec.explain import explain
from pvc_gitops.spec.places import LazyPlaces
from pvc_gitops.spec.reading import read_document
from pvc_gitops.spec.scalars import Resolver

FOLDER: Final = "tests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A rule as it is written."""

    name: str
    file: str
    line: int
    select: Spec
    expect: Spec


def read(files: Mapping[str, bytes]) -> tuple[Written, ...]:
    """All rules, in order of file and line.

    Args:
        files: path below the repository to bytes, of documents in tests/.

    Raises:
        SpecError: with every problem and its place.
    """
    found: list[Written] = []
    problems: list[Problem] = []
    for path, data in sorted(files.items()):
        document = read_document(Kind.TEST, data, Resolver())
        stem = path.rpartition("/")[2].removesuffix(".yaml")
        if document is None or document["metadata"]["name"] != stem:
            problems.extend(explain(Kind.TEST, path, data, files))
            continue
        places = LazyPlaces(Kind.TEST, data)
        for number, rule in enumerate(document["spec"]["rules"]):
            line, _ = places.get(("rules", str(number), "name"), (0, 0))
            found.append(
                Written(
                    name=rule["name"],
                    file=path,
                    line=line,
                    select=rule["select"],
                    expect=rule["expect"],
                )
            )
    if problems:
        raise SpecError(problems)
    return tuple(found)
