"""The Clock port over the system clock."""

from datetime import UTC, datetime


class SystemClock:
    """Reads the system clock."""

    def now(self) -> datetime:
        """Return the present in UTC with microseconds. Steps back when the system clock is set back."""
        return datetime.now(UTC)
