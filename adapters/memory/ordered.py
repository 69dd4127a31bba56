"""Entries in the order of a user's list."""

from bisect import bisect_left, insort
from operator import itemgetter
from typing import Any, TypeAlias

Entry: TypeAlias = list[Any]
"""A task's `created_at` and `id`, which never change and are compared as Position is, but in C; then the task."""

CHUNK_SIZE = 512
_last: Any = itemgetter(-1)


class OrderedEntries:
    """Entries, oldest first, so that a new task is appended.

    Kept in chunks, none of them empty, so that an entry that is added or removed moves a thousand others at most.
    """

    __slots__ = ("_chunks",)

    def __init__(self) -> None:
        self._chunks: list[list[Entry]] = []

    def add(self, entry: Entry) -> None:
        """Add an entry, whose position must be new."""
        if not self._chunks:
            self._chunks.append([entry])
            return
        index = min(self._find_chunk(entry), len(self._chunks) - 1)
        insort(self._chunks[index], entry)
        self._split(index)

    def remove(self, entry: Entry) -> None:
        """Remove an entry that was added."""
        index = self._find_chunk(entry)
        chunk = self._chunks[index]
        del chunk[bisect_left(chunk, entry)]
        if len(chunk) < CHUNK_SIZE // 4 and index:  # joined to the one before, so that a page is in few chunks
            self._chunks[index - 1] += self._chunks.pop(index)
            self._split(index - 1)
        elif not chunk:
            del self._chunks[index]

    def newest(self, count: int, *, before: Entry | None = None) -> list[Entry]:
        """Return up to `count` entries, newest first, all of them before the position of another if one is given."""
        index, end = len(self._chunks), 0
        if before is not None and (index := self._find_chunk(before)) < len(self._chunks):
            end = bisect_left(self._chunks[index], before)
        found: list[Entry] = []
        while len(found) < count and (end or index):
            if not end:
                index -= 1
                end = len(self._chunks[index])
            start = max(0, end - (count - len(found)))
            found += reversed(self._chunks[index][start:end])
            end = start
        return found

    def _split(self, index: int) -> None:
        chunk = self._chunks[index]
        if len(chunk) > 2 * CHUNK_SIZE:
            self._chunks[index : index + 1] = [chunk[:CHUNK_SIZE], chunk[CHUNK_SIZE:]]

    def _find_chunk(self, entry: Entry) -> int:
        """Return the index of the first chunk that ends at or after an entry."""
        return bisect_left(self._chunks, entry, key=_last)
