"""Forges by their HTTP API: one comment, found by its marker and edited in place, and a commit's status.

GitHub, Forgejo (and Gitea) and GitLab differ in addresses and in little else. Standard library only: a
node and a CI job need nothing more for four requests.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from pvc_gitops.errors import WorldError
from pvc_gitops.model.forge import ForgeType
from pvc_gitops.model.values import dataclass

ANSWER_S: Final = 15.0
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
PAGE: Final = 100
PAGES_MAX: Final = 20  # 2,000 comments; a discussion that is longer gets a new one of ours
STATES: Final = {
    # ours: GitHub's and Forgejo's, GitLab's
    "success": ("success", "success"),
    "failure": ("failure", "failed"),
    "pending": ("pending", "pending"),
}


class ForgeError(WorldError):
    """The forge did not do it. Never quotes the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One repository at a forge. Methods raise ForgeError."""

    type: ForgeType
    address: str  # https://api.github.com, https://forge.example.com/api/v1, …/api/v4
    repository: str
    token: str

    def comment(self, number: int, text: str, marker: str) -> str:
        """Make the comment of a pull or merge request say this; whether it was `made` or `edited`."""
        comments = self._comments(number)
        for page in range(1, PAGES_MAX + 1):
            found = self._call("GET", f"{comments}?per_page={PAGE}&limit={PAGE}&page={page}", None)
            mine = next((each for each in found if _is_ours(each, marker)), None)
            if mine is not None:
                self._edit(number, mine["id"], text)
                return "edited"
            if len(found) < PAGE:
                break
        self._call("POST", comments, {"body": text})
        return "made"

    def status(self, commit: str, state: str, context: str, text: str, link: str = "") -> None:
        """Set what stands beside a commit. `state`: success, failure, pending."""
        theirs = STATES[state][self.type is ForgeType.GITLAB]
        body = {"state": theirs, "description": text}
        if self.type is ForgeType.GITLAB:
            body["name"] = context
        else:
            body["context"] = context
        if link:
            body["target_url"] = link
        self._call("POST", f"{self._home()}/statuses/{commit}", body)

    def _home(self) -> str:
        if self.type is ForgeType.GITLAB:
            return f"/projects/{quote(self.repository, safe='')}"
        return f"/repos/{self.repository}"

    def _comments(self, number: int) -> str:
        if self.type is ForgeType.GITLAB:
            return f"{self._home()}/merge_requests/{number}/notes"
        return f"{self._home()}/issues/{number}/comments"

    def _edit(self, number: int, comment: int, text: str) -> None:
        if self.type is ForgeType.GITLAB:
            self._call("PUT", f"{self._comments(number)}/{comment}", {"body": text})
        else:
            self._call("PATCH", f"{self._home()}/issues/comments/{comment}", {"body": text})

    def _call(self, method: str, path: str, body: Mapping[str, str] | None) -> Any:  # noqa: ANN401  JSON
        url = self.address.rstrip("/") + path
        if urlsplit(url).scheme not in ("http", "https"):
            raise ForgeError(method, self.repository, "its address is not http", retryable=False)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method, headers=self._headers())  # noqa: S310
        try:
            # No redirect may carry the token elsewhere.
            with _OPENER.open(request, timeout=ANSWER_S) as answer:
                text = answer.read(ANSWER_BYTES_MAX)
        except urllib.error.HTTPError as err:
            said = err.read(2000).decode("utf-8", "replace")
            reason = f"{err.code} {_reason(said) or err.reason}"
            raise ForgeError(method, path, reason, retryable=err.code >= 500) from err  # noqa: PLR2004
        except (OSError, ValueError) as err:
            raise ForgeError(method, path, str(err), retryable=True) from err
        try:
            return json.loads(text or b"null")
        except ValueError as err:
            raise ForgeError(method, path, "its answer is no JSON", retryable=False) from err

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "pvc-gitops"}
        match self.type:
            case ForgeType.GITLAB:
                return headers | {"PRIVATE-TOKEN": self.token}
            case ForgeType.GITHUB:
                return headers | {
                    "Authorization": f"Bearer {self.token}",
                    "Accept": "application/vnd.github+json",
                }
            case _:
                return headers | {"Authorization": f"token {self.token}"}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        return None


_OPENER: Final = urllib.request.build_opener(_NoRedirect)


def _is_ours(comment: Any, marker: str) -> bool:  # noqa: ANN401  JSON
    return isinstance(comment, dict) and str(comment.get("body", "")).startswith(marker)


def _reason(said: str) -> str:
    try:
        value = json.loads(said)
    except ValueError:
        return ""
    message = value.get("message") if isinstance(value, dict) else None
    return message if isinstance(message, str) else ""
