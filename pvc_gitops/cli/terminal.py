"""What the terminal can show."""

from __future__ import annotations

import os
import sys
from typing import Final

WIDTH_MAX: Final = 100  # tables fit 80; longer sentences are hard to read beyond this


def wants_color() -> bool:
    """Only on a terminal, and never where NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def width() -> int:
    """Columns to use; 80 where nobody looks."""
    import shutil  # brings the archivers of the standard library along

    return min(shutil.get_terminal_size((80, 24)).columns, WIDTH_MAX)
