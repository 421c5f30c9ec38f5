"""`pvc-formation`: a node's first start, from a seed to running daemons; later a look and no more.

A composition root. Interrupted anywhere and started again, it goes on. systemd starts it at every boot
and after a failure.
"""

from __future__ import annotations

import sys

from pvc_gitops.adapters.formation.founded import ensure_local, founded
from pvc_gitops.adapters.formation.journal import Journal
from pvc_gitops.errors import PvcError, SpecError, UsageError


def main() -> int:
    """Run to the end. Exit status 1 asks systemd to start it again."""
    journal = Journal()
    try:
        known = founded()
        if known is not None:
            ensure_local(known)
        else:
            # Its libraries take most of a second to load, which later boots need not pay.
            from pvc_node_agent import first_start

            first_start.run(journal)
        journal.done()
    except SpecError as err:
        lines = [f"{problem.file}:{problem.line}: {problem.message}" for problem in err.problems]
        journal.fail("the founding commit is not valid: " + "; ".join(lines))
        return 1
    except UsageError as err:
        journal.fail(f"{err.message}. {err.hint}")
        return 1
    except PvcError as err:
        journal.fail(str(err))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
