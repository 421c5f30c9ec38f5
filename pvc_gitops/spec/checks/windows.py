"""Maintenance windows: rules that can be, and somebody to wait for."""

from __future__ import annotations

from collections.abc import Iterator

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.windows import WindowError, rule_of, zone_of
from pvc_gitops.spec.checks.repository import Repository
from pvc_gitops.spec.findings import Finding


def window_findings(repository: Repository) -> Iterator[Finding]:
    """Days and zones that do not exist; guests that wait for a window and name none."""
    for window in repository.of_kind(Kind.WINDOW):
        yield from _rules(window)
    cluster = repository.cluster
    if cluster is None or cluster.spec["apply"]["windows"]:
        return
    for guest in repository.of_kind(Kind.VM):
        if guest.spec["reboot_for_changes"] == "window" and "window" not in guest.spec:
            yield Finding(
                document=guest,
                path=("reboot_for_changes",),
                code="no-window",
                message="it waits for a window, and none is named here or in apply.windows",
                hint="add `window: NAME`, or write never or now",
            )


def _rules(window: Document) -> Iterator[Finding]:
    for key in ("allow", "deny"):
        for index, text in enumerate(window.spec[key]):
            try:
                rule_of(text)
            except WindowError as error:
                yield Finding(
                    document=window,
                    path=(key, str(index)),
                    code="bad-window",
                    message=str(error),
                )
    try:
        zone_of(window.spec["timezone"])
    except WindowError as error:
        yield Finding(
            document=window,
            path=("timezone",),
            code="bad-timezone",
            message=str(error),
            hint="write a name like Europe/Berlin or UTC",
        )
