"""What can go wrong while an image is built; each error says what to do next."""

from __future__ import annotations


class ImageError(Exception):
    """The image could not be built. Nothing half built stays where a finished layer is looked
    for.
    """

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(f"{problem}\n  {hint}")
        self.problem = problem
        self.hint = hint
