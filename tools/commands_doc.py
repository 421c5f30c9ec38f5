"""Writes docs/commands.md from the commands themselves, so that the index is never out of date.

python3 tools/commands_doc.py            write it
python3 tools/commands_doc.py --check    exit 1 where it differs
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pvc_gitops.cli.main import HIDDEN, cli

TARGET = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
HEAD = """# Commands

Generated from the commands' own help by `tools/commands_doc.py`.

One rule: a verb that changes what git declares edits the checkout; a verb that is momentary talks to
the cluster; no verb does both silently. The cluster is reached by `--host`, else `PVC_HOST`, else
`pvc.host` of the checkout's git configuration, else by ssh the coordinators' upstream addresses.

Exit codes of `plan`, the first that applies: 1 error, 5 frozen, halted or another apply is running,
4 the checkout is behind or the cluster's effect differs, 3 something is blocked, 2 changes, 0 nothing
to do.

## What `pvc apply` says of a checkout

| checkout | it says | exit |
| --- | --- | --- |
| clean, pushed, cluster there | `Nothing to do: main 9f0e1d3 is applied.` | 0 |
| clean, pushed, cluster behind | shows the plan, asks, has the cluster look, follows | 0, 1, 3 |
| files differ from HEAD | which, and that only what is on the branch is applied | 1 |
| HEAD not pushed | how many commits, and `--push` | 1 |
| HEAD behind, or diverged | by how many, the newest one, and the pull | 4 |
| another branch | which branch the cluster follows | 1 |
"""


def sections(group: click.Group, words: tuple[str, ...], context: click.Context) -> Iterator[str]:
    """One section a command, groups before what is in them."""
    for name in group.list_commands(context):
        if name in HIDDEN and not words:
            continue
        command = group.get_command(context, name)
        assert command is not None
        path = (*words, name)
        info = click.Context(
            command, info_name=" ".join(("pvc", *path)), terminal_width=98, max_content_width=98
        )
        yield f"\n## pvc {' '.join(path)}\n\n```\n{command.get_help(info).rstrip()}\n```\n"
        if isinstance(command, click.Group):
            yield from sections(command, path, info)


def main() -> int:
    text = HEAD + "".join(sections(cli, (), click.Context(cli, info_name="pvc")))
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"{TARGET.name} differs from the commands; python3 tools/commands_doc.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
