"""Documents that did not change since the last command are not read again: where that is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pvc_gitops.adapters import cache
from pvc_gitops.spec.known import Known

_PACKAGE = Path(__file__).resolve().parent.parent
# What makes a value of a file's bytes. Their text is the fingerprint, not a version: in a checkout that
# somebody works on, the version stays.
_READERS = (
    "spec/*.py",
    "spec/source/*.py",
    "model/document.py",
    "model/units.py",
    "model/codec.py",
)


@contextmanager
def remembered(repo: Path) -> Iterator[Known]:
    """What the last load of this repository has read; afterwards, what this one has."""
    name = str(repo.resolve())
    try:
        made_by = cache.fingerprint(
            file for pattern in _READERS for file in sorted(_PACKAGE.glob(pattern))
        )
    except OSError:  # without sources nobody can say whether what is kept is still right
        yield Known()
        return
    known = Known(cache.read(name, made_by))
    yield known
    if known.is_worth_keeping:
        cache.write(name, made_by, dict(known.rows))
