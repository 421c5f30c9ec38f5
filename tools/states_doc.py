"""Writes docs/states.md from the tables of states, so that its diagrams are what the code does.

python3 tools/states_doc.py            write it
python3 tools/states_doc.py --check    exit 1 where it differs
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pvc_gitops.model import guest_states, node_states
from pvc_gitops.model.state_tables import Impossible, Table

TARGET = Path(__file__).resolve().parent.parent / "docs" / "states.md"
HEAD = """# States

Generated from `pvc_gitops/model/node_states.py` and `guest_states.py` by `tools/states_doc.py`.

What happens to a node or a guest is an event; the tables say where each event leads from each state, and
why it cannot happen in the others: a controller that comes to such a place stops with an error, and the
simulator watches every record that is written. Diagrams leave out what changes nothing.
"""
ABOUT = {
    "node": "A node's state is read from the records and its heartbeat each time somebody asks.",
    "guest": "A guest's state stands in its placement record, with the reason beside it.",
}


def section(table: Table[Any, Any]) -> Iterator[str]:
    """One table: diagram, states, events."""
    yield f"\n## {table.name.capitalize()}\n\n{ABOUT[table.name]}\n"
    yield "\n```mermaid\nstateDiagram-v2\n"
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, event, to in table.edges():
        if state is not to:
            arrows.setdefault((state, to), []).append(event)
    yield from (f"    {a} --> {b}: {', '.join(by)}\n" for (a, b), by in sorted(arrows.items()))
    yield "```\n\n| state | means |\n| --- | --- |\n"
    yield from (f"| `{state}` | {table.meanings[state]} |\n" for state in table.states)
    yield "\n| event | is | leads | cannot happen |\n| --- | --- | --- | --- |\n"
    for row in table.rows:
        yield f"| `{row.event}` | {table.meanings[row.event]} | {_leads(table, row.event)} |"
        yield f" {_never(table, row.event)} |\n"


def _leads(table: Table[Any, Any], event: Any) -> str:  # noqa: ANN401  of any table
    ways: dict[str, list[str]] = {}
    for state, each, to in table.edges():
        if each is event:
            ways.setdefault("stay" if state is to else f"→ {to}", []).append(str(state))
    return "; ".join(f"{', '.join(states)} {to}" for to, states in sorted(ways.items()))


def _never(table: Table[Any, Any], event: Any) -> str:  # noqa: ANN401  of any table
    found = {s: table.entries[s, event] for s in table.states}
    never = [s for s, each in found.items() if isinstance(each, Impossible)]
    why = next((each.why for each in found.values() if isinstance(each, Impossible)), "")
    return f"{', '.join(never)}: {why}" if never else "–"


def main() -> int:
    tables: tuple[Table[Any, Any], ...] = (node_states.TABLE, guest_states.TABLE)
    text = HEAD + "".join(line for table in tables for line in section(table))
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"{TARGET.name} differs from the tables; python3 tools/states_doc.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
