"""The Forge document."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.document import Kind
from pvc_gitops.spec.source.parts import choice, flag, record, reference, rows, text, whole

_URL: Final = "^https?://[^\\s\\u0000-\\u001f]{1,500}$"
_BRANCH: Final = "^[A-Za-z0-9._*-]+(/[A-Za-z0-9._*-]+)*$"

FORGE: Final = record(
    "Where proposals come from, and where the cluster tells what they would do.",
    {
        "type": choice(
            "Whose refs and API it has.",
            {"github": "GitHub", "gitlab": "GitLab", "forgejo": "Forgejo or Gitea",
             "git": "a bare repository: branches are previewed, nobody is told"},
        ),
        "repository": text("The repository as the forge names it.", "infra/prod",
                           pattern="^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+$"),
        "api": text("The address of its API. Of GitHub and gitlab.com it is known.",
                    "https://forge.example.com/api/v1", pattern=_URL, longest=512),
        "web": text("The address that people see, for links to files.", "https://github.com",
                    pattern=_URL, longest=512),
        "token": record(
            "What the cluster logs in with to comment and to set statuses. It needs no other right. "
            "Without one, previews are only kept in the cluster: `pvc preview list`.",
            {"secret": reference(Kind.SECRET, "The Secret that holds the token.", "forge-token")},
            required=["secret"],
        ),
        "previews": record(
            "What is previewed. Every preview is of the merge into the tracked branch.",
            {
                "branches": rows("Branches, `*` for any part.",
                                 text("A branch.", "review/*", pattern=_BRANCH), most=20,
                                 unique=True),
                "pull_requests": flag("Pull and merge requests.", default=True),
                "from_forks": flag("Those whose branch is not in this repository, too: anybody can "
                                   "then have the cluster compute.", default=False),
                "at_once": whole("How many are planned at the same time.", 2, least=1, most=8,
                                 default=2),
            },
        ),
    },
    required=["type"],
)  # fmt: skip
