"""A clock and a source of ids that tests control."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

START = datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC)
"""The time at which a ManualClock starts."""
_FIRST_ID = 0x00000000_0000_7000_8000_000000000000


class ManualClock:
    """The Clock port: stands still until it is set or stepped, also backwards, as real clocks may."""

    def __init__(self, start: datetime = START) -> None:
        """Start at a time. Raises ValueError unless it is aware; it is converted to UTC."""
        self.set(start)

    def now(self) -> datetime:
        """Return the time it was set to, in UTC."""
        return self._now

    def set(self, moment: datetime) -> None:
        """Set the time. Raises ValueError unless it is aware; it is converted to UTC."""
        if moment.tzinfo is None:
            raise ValueError("the time must be aware, for example datetime(2026, 1, 31, tzinfo=UTC)")
        self._now = moment.astimezone(UTC)

    def step(self, by: timedelta | float = 1.0) -> datetime:
        """Move the time by a duration, or a number of seconds, and return the new time."""
        self._now += by if isinstance(by, timedelta) else timedelta(seconds=by)
        return self._now


class SequentialIds:
    """The TaskIds port: 00000000-0000-7000-8000-000000000001 and so on, UUIDs of version 7."""

    def __init__(self) -> None:
        """Start without earlier ids."""
        self._made = 0

    def new(self) -> UUID:
        """Return the next id."""
        self._made += 1
        return self.nth(self._made)

    @staticmethod
    def nth(number: int) -> UUID:
        """Return the id with a number, counted from 1, whether it was returned before or not."""
        return UUID(int=_FIRST_ID + number)
