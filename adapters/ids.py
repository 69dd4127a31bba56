"""The TaskIds port: UUIDs of version 7 (RFC 9562), which sort by the time they were made."""

import os
import time
from uuid import UUID

_RANDOM_BITS = 62
_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62


class Uuid7Ids:
    """Generates version 7 UUIDs: 48 bits of milliseconds, 12 bits of their fraction, 62 random bits.

    Within one instance ids strictly increase, even when the clock does not advance or steps back.
    """

    def __init__(self) -> None:
        """Start without earlier ids."""
        self._last_tick = 0

    def new(self) -> UUID:
        """Return the next id, from one read of the clock and eight random bytes."""
        milliseconds, rest = divmod(time.time_ns(), 1_000_000)
        tick = max((milliseconds << 12) | (rest * 4096 // 1_000_000), self._last_tick + 1)
        self._last_tick = tick
        random = int.from_bytes(os.urandom(8), "big") >> (64 - _RANDOM_BITS)
        return UUID(int=(tick >> 12) << 80 | _VERSION | (tick & 0xFFF) << 64 | _VARIANT | random)
