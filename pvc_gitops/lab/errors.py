"""What can go wrong with the lab's hardware. Every message says what to do next."""

from __future__ import annotations

from pvc_gitops.errors import UsageError


class LabError(UsageError):
    """The lab cannot do what was asked; the machine is as before or as the message says."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)

    def __str__(self) -> str:
        """Both halves, since processes of the lab print it where nobody takes it apart."""
        return f"{self.message}\n  {self.hint}"
