"""How long tests wait for what other processes do: far longer than it takes, even on a slow machine."""

import time
from collections.abc import Callable

DEADLINE_SECONDS = 60.0


def eventually(true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
