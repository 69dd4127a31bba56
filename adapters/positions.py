"""Position stores: in memory, and in a file of SQLite's."""

import json
from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self
from uuid import UUID

from application import PositionsInUse, PositionStore, Progress, SeenTask, State, TaskEvent

_SCHEMA = """
CREATE TABLE IF NOT EXISTS states (user_id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    user_id TEXT, task_id TEXT, title TEXT NOT NULL, is_completed INTEGER NOT NULL, PRIMARY KEY (user_id, task_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending (number INTEGER PRIMARY KEY, event TEXT NOT NULL);
"""


class MemoryPositions(PositionStore):
    """A PositionStore in the memory of this process. The next process begins again, with every task."""

    def __init__(self) -> None:
        """Start at the beginning."""
        self._states: dict[str, State] = {}
        self._seen: defaultdict[str, dict[UUID, SeenTask]] = defaultdict(dict)
        self._pending: deque[TaskEvent] = deque()

    async def states(self, user_ids: Collection[str]) -> dict[str, State]:
        return {user_id: self._states[user_id] for user_id in user_ids if user_id in self._states}

    async def users(self, *, after: str, until: str | None) -> list[str]:
        # Reads the ids of all users.
        return [user_id for user_id in self._states if user_id > after and (until is None or user_id <= until)]

    async def seen(self, user_id: str, task_ids: Collection[UUID] | None) -> dict[UUID, SeenTask]:
        seen = self._seen[user_id]
        return seen.copy() if task_ids is None else {each: seen[each] for each in task_ids if each in seen}

    async def record(self, progress: Progress) -> None:
        self._states[progress.user_id] = progress.state
        seen = self._seen[progress.user_id]
        seen.update(progress.seen)
        for task_id in progress.removed:
            seen.pop(task_id, None)
        self._pending.extend(progress.events)

    async def pending(self) -> Sequence[TaskEvent]:
        return [*self._pending]

    async def delivered(self, event: TaskEvent) -> None:
        if not self._pending or self._pending[0] != event:
            raise PositionsInUse
        self._pending.popleft()


class SqlitePositions(PositionStore):
    """A PositionStore in a file of SQLite's, which survives crashes of the process and of the machine.

    Writes block the event loop until they are on the disk: once for up to 500 changes, milliseconds each; the note that
    an event was delivered is not waited for. Close it, or use it in a `with` block. For one process at a time.
    """

    def __init__(self, path: str | Path, *, timeout: float = 5.0) -> None:
        """Open the file, or create it for its owner alone, because it has titles.

        Waits up to `timeout` seconds for another process that has it open, then raises PositionsInUse. Raises
        sqlite3.Error when the file cannot be opened, or is not one of these.
        """
        import sqlite3  # not loaded where there is no such file

        with suppress(OSError):  # which SQLite reports
            Path(path).touch(mode=0o600)
        self._db = sqlite3.connect(path, timeout=timeout, isolation_level=None)
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except sqlite3.Error as error:
            self._db.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise PositionsInUse from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    async def states(self, user_ids: Collection[str]) -> dict[str, State]:
        sql = "SELECT user_id, state FROM states WHERE user_id = ?"
        rows = (self._db.execute(sql, (user_id,)).fetchone() for user_id in user_ids)
        return {row[0]: State.parse(row[1]) for row in rows if row}

    async def users(self, *, after: str, until: str | None) -> list[str]:
        sql, ends = "SELECT user_id FROM states WHERE user_id > ?", [after]
        if until is not None:
            sql, ends = f"{sql} AND user_id <= ?", [after, until]
        return [user_id for (user_id,) in self._db.execute(sql, ends)]

    async def seen(self, user_id: str, task_ids: Collection[UUID] | None) -> dict[UUID, SeenTask]:
        sql = "SELECT task_id, title, is_completed FROM seen WHERE user_id = ?"
        if task_ids is None:
            rows = self._db.execute(sql, (user_id,)).fetchall()
        else:
            found = (self._db.execute(f"{sql} AND task_id = ?", (user_id, str(each))).fetchone() for each in task_ids)
            rows = [row for row in found if row]
        return {UUID(task_id): SeenTask(title=title, is_completed=bool(done)) for task_id, title, done in rows}

    async def record(self, progress: Progress) -> None:
        user_id, seen = progress.user_id, progress.seen.items()
        db = self._db
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        with db:
            db.execute("INSERT OR REPLACE INTO states VALUES (?, ?)", (user_id, str(progress.state)))
            rows = [(user_id, str(task_id), task.title, task.is_completed) for task_id, task in seen]
            db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", rows)
            removed = [(user_id, str(task_id)) for task_id in progress.removed]
            db.executemany("DELETE FROM seen WHERE user_id = ? AND task_id = ?", removed)
            events = [(json.dumps(event.as_dict()),) for event in progress.events]
            db.executemany("INSERT INTO pending (event) VALUES (?)", events)

    async def pending(self) -> Sequence[TaskEvent]:
        rows = self._db.execute("SELECT event FROM pending ORDER BY number")
        return [TaskEvent.from_dict(json.loads(event)) for (event,) in rows]

    async def delivered(self, event: TaskEvent) -> None:
        # Without waiting for the disk: what a crash of the machine undoes is only delivered again.
        self._db.execute("PRAGMA synchronous = NORMAL")
        sql = "DELETE FROM pending WHERE number = (SELECT min(number) FROM pending) AND event = ?"
        if not self._db.execute(sql, (json.dumps(event.as_dict()),)).rowcount:
            raise PositionsInUse
