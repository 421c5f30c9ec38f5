"""The schemas as files: what schema/ holds, and what `pvc init` puts into `.pvc/schema/`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from pvc_gitops.model.document import DOCUMENT_KINDS, Kind
from pvc_gitops.spec.source import schemas


def schema_name(kind: Kind) -> str:
    """`VirtualMachine` is described in `virtual-machine.json`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", DOCUMENT_KINDS[kind][0]).lower() + ".json"


def schema_files() -> Mapping[str, str]:
    """File name to text, in order of name."""
    rows = {
        schema_name(kind): json.dumps(schema, indent=2, ensure_ascii=True) + "\n"
        for kind, schema in schemas().items()
    }
    return dict(sorted(rows.items()))


def modeline(kind: Kind) -> str:
    """The comment that tells an editor which schema describes a document of this kind."""
    folder = DOCUMENT_KINDS[kind][1]
    up = "../" * (folder.count("/") + 1 if folder else 0)
    return f"# yaml-language-server: $schema={up}.pvc/schema/{schema_name(kind)}"
