"""`pvc`: the one command. A noun or verb is a module; it is imported when it is asked for.

Errors of ours end here: one line that says what is wrong, one that says what to do next, and the exit
code. Everything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NoReturn

import click

from pvc_gitops.errors import PvcError, SpecError, UsageError

# name -> (module, attribute, help). The help stands here, so that `pvc --help` imports nothing.
COMMANDS: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "init": ("init", "init", "Write a new cluster's repository, complete and valid."),
        "new": ("new", "new", "Write one document: vm, network, pool, image, volume, node, group."),
        "validate": ("validate", "validate", "Check a repository; every problem with its place."),
        "fmt": ("fmt", "fmt", "Format documents, keep comments, refresh editor schemas."),
        "plan": ("plan", "plan", "Show what would change, where, why, and for how long."),
        "apply": (
            "apply",
            "apply",
            "Preview, ask, and follow the cluster as it applies the branch.",
        ),
        "approve": ("approve", "approve", "Let a plan go that waits in manual mode."),
        "allow": ("allow", "allow", "Write the words that a BLOCKED step of the plan asks for."),
        "adopt": ("adopt", "adopt", "Write documents for what is live and not ours."),
        "status": ("status", "status", "Is everything all right? One screen."),
        "explain": (
            "explain",
            "explain",
            "Why an object is as it is: spec line, commit, plan, step.",
        ),
        "history": (
            "history",
            "history",
            "What happened: commits, plans, steps, intents; and what stood at a time.",
        ),
        "preview": ("preview", "preview", "What open branches and pull requests would do."),
        "test": ("test", "test", "Run the repository's own tests on what a change would do."),
        "rollback": (
            "rollback",
            "rollback",
            "Go back to an earlier commit; put the bad one aside.",
        ),
        "freeze": ("freeze", "freeze", "Let no new plan become the target."),
        "hold": ("hold", "hold", "Suspend fencing and self-fencing, for work on networks."),
        "maintenance": (
            "hold",
            "maintenance",
            "Alarms of the whole cluster are silent, and fencing is on hold.",
        ),
        "halt": ("halt", "halt", "Let running steps end, and begin no other."),
        "retry": ("retry", "retry", "Try again what is not tried by itself any more."),
        "vm": ("vm", "vm", "Restart, stop and start a guest for the moment, besides git."),
        "node": ("node", "node", "Empty a node, and see beforehand what that takes."),
        "rebalance": ("rebalance", "rebalance", "Move guests so that the nodes are alike."),
        "intent": ("intent", "intent", "What operators want for the moment, besides git."),
        "source": ("source", "source", "The repository as the cluster sees it."),
        "forge": ("forge", "forge", "Tell a forge what a change would do, from its CI."),
        "export": ("export", "export", "Write the planner's inputs to a file, for replay."),
        "simulate": (
            "simulate",
            "simulate",
            "Play a script on the repository in a simulated cluster.",
        ),
        "try": (
            "try_",
            "try_",
            "The example cluster in memory, with a prompt. No root, 2 seconds.",
        ),
        "lab": ("lab", "lab", "A real three-node cluster in containers on this machine."),
        "preview-job": ("preview_job", "preview_job", "Plan one proposal, as a child of a node."),
        "agent-stdio": (
            "agent_stdio",
            "agent_stdio",
            "Connect standard input to this node's agent.",
        ),
    }
)
HIDDEN: Final = frozenset({"agent-stdio", "preview-job"})  # what programs run, not people
BROKEN_PIPE: Final = 128 + 13  # what a shell reports for SIGPIPE


class LazyGroup(click.Group):
    """Commands by name, without importing them for `--help`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"pvc_gitops.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        rows = [(name, entry[2]) for name, entry in COMMANDS.items() if name not in HIDDEN]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib  # only for a mistake

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean `pvc {close[0]}`?" if close else " See `pvc --help`."
            ctx.fail(f"no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--host",
    metavar="URL",
    help="The cluster: ssh://[user@]node or unix:///path. Default: $PVC_HOST, git config pvc.host, "
    "else the coordinators of the checkout.",
)
@click.version_option(package_name="pvc-gitops", prog_name="pvc")
@click.pass_context
def cli(ctx: click.Context, host: str | None) -> None:
    """A private cloud on 3 to 9 machines, described by one git repository.

    Edit YAML, `pvc plan`, commit, push, `pvc apply`. What changes git's wishes edits your checkout;
    what is momentary talks to the cluster; no command does both.
    """
    ctx.obj = host


def main() -> None:
    """The console script."""
    try:
        # Without standalone mode `ctx.exit(n)` comes back as the value; a command returns None.
        code = cli.main(standalone_mode=False)
        _leave(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except click.Abort:
        click.echo("Aborted.", err=True)
        sys.exit(1)
    except BrokenPipeError:
        # The reader left (`pvc status | head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    except UsageError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"       {error.hint}", err=True)
        sys.exit(error.exit_code)
    except SpecError as error:
        from pvc_gitops.spec import report  # only where there is something to report

        for problem in error.problems:
            click.echo(report.pretty(problem), err=True)
        count = len(error.problems)
        click.echo("1 problem" if count == 1 else f"{count} problems", err=True)
        sys.exit(1)
    except PvcError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


def _leave(code: int) -> NoReturn:
    """End the process. A command that has turned the collector off has made many values and has nothing
    to tidy up; Python would take them apart one by one before it ends, a tenth of a small plan's time."""
    if gc.isenabled():
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
