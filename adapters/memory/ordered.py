"""The order of a user's list."""

from bisect import bisect_left, insort
from datetime import UTC, datetime, timedelta
from uuid import UUID

CHUNK_SIZE = 512
_EPOCH = datetime.min.replace(tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def place_of(created_at: datetime, task_id: UUID) -> int:
    """Return the place of a task in the order, which is that of Position, as one number.

    A comparison of numbers is faster, and reads one object. The task's id is the lower 128 bits.
    """
    return (created_at - _EPOCH) // _MICROSECOND << 128 | task_id.int


class OrderedPlaces:
    """Places, oldest first, so that a new task is appended.

    Kept in chunks, none of them empty, so that a place that is added or removed moves a thousand others at most.
    """

    __slots__ = ("_chunks", "_lasts")

    def __init__(self) -> None:
        self._chunks: list[list[int]] = []
        self._lasts: list[int] = []  # the last place of each chunk, so that a search for a chunk reads one list

    def add(self, place: int) -> None:
        """Add a place, which must be new."""
        if not self._chunks:
            self._chunks.append([])
        index = min(bisect_left(self._lasts, place), len(self._chunks) - 1)
        insort(self._chunks[index], place)
        self._split(index)

    def remove(self, place: int) -> None:
        """Remove a place that was added."""
        index = bisect_left(self._lasts, place)
        chunk = self._chunks[index]
        del chunk[bisect_left(chunk, place)]
        if len(chunk) < CHUNK_SIZE // 4 and index:  # joined to the one before, so that a page is in few chunks
            del self._chunks[index], self._lasts[index]
            index -= 1
            self._chunks[index] += chunk
        self._split(index)

    def newest(self, count: int, *, before: int | None = None) -> list[int]:
        """Return up to `count` places, newest first, all of them before another if one is given."""
        index, end = len(self._chunks), 0
        if before is not None and (index := bisect_left(self._lasts, before)) < len(self._chunks):
            end = bisect_left(self._chunks[index], before)
        found: list[int] = []
        while len(found) < count and (end or index):
            if not end:
                index -= 1
                end = len(self._chunks[index])
            start = max(0, end - (count - len(found)))
            found += reversed(self._chunks[index][start:end])
            end = start
        return found

    def _split(self, index: int) -> None:
        """Split a chunk that has grown too long, or drop an empty one, and note the last places."""
        chunk = self._chunks[index]
        parts = [chunk[:CHUNK_SIZE], chunk[CHUNK_SIZE:]] if len(chunk) > 2 * CHUNK_SIZE else [chunk] if chunk else []
        self._chunks[index : index + 1] = parts
        self._lasts[index : index + 1] = [part[-1] for part in parts]
