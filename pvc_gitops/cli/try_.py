"""`pvc try`: the example cluster in memory, with a prompt. No root, no node, nothing left behind."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pvc_gitops.errors import PvcError, SpecError, UsageError

if TYPE_CHECKING:
    from pvc_gitops.sim.play import Player

PROMPT: Final = "pvc> "
STARTUP_LIMIT_S: Final = 600
PUSH_LIMIT_S: Final = 900
HELP: Final = """\
  plan                      what a push would change, where and why
  push                      push the folder; the cluster adopts and applies it
  status                    one screen: is everything all right?
  explain vm/web1           why an object is as it is
  edit                      where the files are; edit them with any editor
  power NODE on|off         mains of a node
  agent NODE kill|start     its agent; guests go on running
  vm NAME crash             a guest's process dies
  git on|off                the remote repository
  wait SECONDS              let time pass (it passes only here)
  quit"""


@click.command(name="try")
@click.option(
    "--repo",
    type=click.Path(path_type=Path),
    help="Another repository than the example; it is copied, never written.",
)
def try_(repo: Path | None) -> None:
    """Play with the example cluster in memory: plan, push, cut the power, look.

    The same planner and agents as on real nodes, on a virtual clock. Commands come from the prompt or
    from standard input.
    """
    with tempfile.TemporaryDirectory(prefix="pvc-try-") as folder:
        work = Path(folder) / "cluster"
        copy(example() if repo is None else repo, work)
        session = Session(work)
        for line in session.begin():
            click.echo(line)
        _loop(session)


def _loop(session: Session) -> None:
    is_person = sys.stdin.isatty()
    while True:
        if is_person:
            click.echo(PROMPT, nl=False)
        line = sys.stdin.readline()
        if not line:
            return
        if not is_person and line.strip():
            click.echo(PROMPT + line.strip())
        if line.split()[:1] in (["quit"], ["exit"]):
            return
        try:
            for answer in session.answer(line):
                click.echo(answer)
        except UsageError as error:
            click.echo(f"error: {error.message}")
            if error.hint:
                click.echo(f"       {error.hint}")
        except SpecError as error:
            click.echo(_problems(error))
        except PvcError as error:
            click.echo(f"error: {error}")


def example() -> Path:
    """The example repository: in a wheel beside the code, in a checkout beside the package."""
    import pvc_gitops

    package = Path(pvc_gitops.__file__).parent
    for place in (package / "_data/example-cluster-repo", package.parent / "example-cluster-repo"):
        if (place / "cluster.yaml").is_file():
            return place
    raise UsageError("the example repository is not installed", hint="pvc try --repo DIR")


def copy(source: Path, target: Path) -> None:
    """Copy what is read of a repository. Raises SpecError."""
    for path, data in _files(source).items():
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


class Session:
    """One cluster in memory and the folder that is its repository."""

    def __init__(self, folder: Path) -> None:
        from pvc_gitops.sim.cluster import SimCluster
        from pvc_gitops.sim.play import Player

        self.folder = folder
        self.player: Player = Player(SimCluster(_files(folder)), lambda _: _files(folder))
        self._shown = 0

    def begin(self) -> list[str]:
        """Power everything on and let the first apply end."""
        nodes = sorted(self.player.cluster.nodes)
        for name in nodes:
            self.player.cluster.power(name, on=True)
        self.player.settle(STARTUP_LIMIT_S)
        running = sum(vm["state"] == "running" for vm in self.player.result()["vms"].values())
        self._shown = len(self.player.cluster.events)
        return [
            f"A simulated cluster: {', '.join(nodes)}; {running} guests run. Time passes only by `wait`.",
            f"Its repository: {self.folder}",
            "Try: plan · edit · push · status · power hv2 off · wait 30 · explain vm/web1 · help",
            "",
        ]

    def answer(self, line: str) -> list[str]:  # noqa: PLR0911  one command a line
        """What one command has to say. Raises UsageError, SpecError."""
        words = line.split("#", maxsplit=1)[0].split()
        match words:
            case []:
                return []
            case ["help"]:
                return [HELP]
            case ["edit"]:
                return [str(self.folder), *(f"  {path}" for path in _files(self.folder))]
            case ["plan"]:
                return [self._plan()]
            case ["status"]:
                return [self._status()]
            case ["push"]:
                return self._push()
            case ["explain", address]:
                return self._explain(address)
            case ["explain"]:
                raise UsageError("explain what?", hint="explain vm/web1")
            case _:
                return self._play(line)

    def _plan(self) -> str:
        from pvc_gitops.planner import render
        from pvc_gitops.planner.planner import POLICY, plan
        from pvc_gitops.sim import rest
        from pvc_gitops.spec.load import load

        spec = load(_files(self.folder), commit=None)
        observed = rest.look(self.player.cluster)
        if observed is None:
            raise UsageError("no coordinator answers", hint="power hv1 on, then wait 90")
        return render.text(plan(spec, observed.inventory, POLICY, observed.inventory.target))

    def _status(self) -> str:
        from pvc_gitops.cli import show
        from pvc_gitops.cli.terminal import wants_color
        from pvc_gitops.sim import rest

        found = rest.look_at_status(self.player.cluster)
        if found is None:
            raise UsageError("no coordinator answers", hint="power hv1 on, then wait 90")
        state, inventory = found
        return show.status_text(state, inventory, color=wants_color())

    def _push(self) -> list[str]:
        from pvc_gitops.spec.load import load

        files = _files(self.folder)
        load(files, commit=None)  # what `pvc apply` refuses before it pushes
        origin = self.player.cluster.origin
        if origin.tip is not None and dict(origin.commits[origin.tip].files) == dict(files):
            return ["Nothing has changed; edit a file first (`edit` says where)."]
        tip = origin.push(files, "your change")
        for node in self.player.cluster.nodes.values():
            node.agent.poke(is_poked=True)
        self.player.settle(PUSH_LIMIT_S)
        return [f"pushed {tip[:7]}", *self._news()]

    def _explain(self, address: str) -> list[str]:
        from pvc_gitops.sim import rest

        return rest.explain(self.player.cluster, address)

    def _play(self, line: str) -> list[str]:
        self.player.play(line, name="command")
        news = self._news()
        if line.split(maxsplit=1)[0] in ("wait", "settle"):
            return news or ["nothing happened"]
        return [*news, "`wait 30` lets time pass"]

    def _news(self) -> list[str]:
        from pvc_gitops.cli.simulate import line
        from pvc_gitops.model.codec import encode

        events = self.player.cluster.events[self._shown :]
        self._shown = len(self.player.cluster.events)
        return [line(encode(event)) for event in events if event["kind"] not in _QUIET]


_QUIET: Final = frozenset({"settled", "network", "step_running", "source", "incarnation", "commit"})


def _files(folder: Path) -> Mapping[str, bytes]:
    from pvc_gitops.cli.simulate import files_of

    return files_of(folder)


def _problems(error: SpecError) -> str:
    from pvc_gitops.controllers.source import sentences

    return "\n".join(sentences(error.problems))
