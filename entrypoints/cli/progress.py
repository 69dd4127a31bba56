"""A line on the terminal that says how far a command is. On anything but a terminal there is none."""

import sys
import time
from typing import Self

EVERY_SECONDS = 0.1
BAR_WIDTH = 30


class Progress:
    """Shows a count of tasks, and a bar where the whole is known, until the end of the block."""

    def __init__(self, whole: int | None = None) -> None:
        """Take the size of the whole, if it is known."""
        self._whole = whole
        self._is_shown = sys.stderr is not None and sys.stderr.isatty()
        self._next_at = 0.0

    def __enter__(self) -> Self:
        return self

    def show(self, count: int, part: int = 0) -> None:
        """Show the number of tasks and the part of the whole, but not more often than can be seen."""
        if not self._is_shown or (now := time.monotonic()) < self._next_at:
            return
        self._next_at = now + EVERY_SECONDS
        bar = ""
        if self._whole:
            share = min(part / self._whole, 1.0)
            bar = f"{'█' * int(share * BAR_WIDTH):░<{BAR_WIDTH}} {share:4.0%}  "
        print(f"\r{bar}{count} tasks", end="\x1b[K", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
