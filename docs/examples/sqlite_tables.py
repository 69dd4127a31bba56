"""The tables of `sqlite_repository.py`: what it reads and writes within its transactions."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from secrets import randbits
from typing import Any
from uuid import UUID

from hextasks import (
    NOTHING,
    Applied,
    Change,
    IdempotencyKeyUsed,
    Once,
    Removal,
    State,
    StorageUnavailable,
    Task,
    TaskAlreadyExists,
    TaskNotFound,
    VersionConflict,
    Write,
    search_key,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS counters (
    user_id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, number INTEGER NOT NULL, purged_to INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS tasks (
    user_id TEXT, id TEXT, version INTEGER NOT NULL, created_at TEXT NOT NULL, is_completed INTEGER NOT NULL,
    title_key TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (user_id, id)
);
CREATE INDEX IF NOT EXISTS tasks_newest ON tasks (user_id, created_at, id);
CREATE INDEX IF NOT EXISTS tasks_changed ON tasks (user_id, version);
CREATE TABLE IF NOT EXISTS tombstones (
    user_id TEXT, id TEXT, version INTEGER NOT NULL, removed_at TEXT NOT NULL, PRIMARY KEY (user_id, id)
);
CREATE INDEX IF NOT EXISTS tombstones_changed ON tombstones (user_id, version);
CREATE INDEX IF NOT EXISTS tombstones_oldest ON tombstones (removed_at);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    user_id TEXT, key TEXT, fingerprint BLOB NOT NULL, outcome TEXT NOT NULL, stored_at TEXT NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX IF NOT EXISTS idempotency_keys_oldest ON idempotency_keys (stored_at);
"""
ANY_ID = """
SELECT id FROM tasks WHERE user_id = :user_id AND id = :id
UNION SELECT id FROM tombstones WHERE user_id = :user_id AND id = :id
"""
TIMES = ("created_at", "updated_at", "completed_at")


class Tables:
    """A SQLite file. A task is stored as JSON, beside the columns that statements need."""

    def __init__(self, path: str) -> None:
        """Open the file, or create it."""
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.executescript(f"PRAGMA journal_mode = WAL; {SCHEMA}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit at the end of the block, or roll back. Raises StorageUnavailable, for example for a locked file."""
        try:
            with self.database:
                self.database.execute("BEGIN IMMEDIATE")
                yield
        except sqlite3.OperationalError as error:
            raise StorageUnavailable from error

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """Run a statement with its values, or with one mapping of names to values."""
        return self.database.execute(sql, values[0] if isinstance(values[0], dict) else values).fetchall()

    def state(self, user_id: str) -> State:
        for epoch, number in self.rows("SELECT epoch, number FROM counters WHERE user_id = ?", user_id):
            return State(epoch=epoch, number=number)
        return NOTHING

    def take_number(self, user_id: str) -> int:
        sql = """
            INSERT INTO counters (user_id, epoch, number) VALUES (?, ?, 1)
            ON CONFLICT DO UPDATE SET number = number + 1 RETURNING number
        """
        number: int = self.rows(sql, user_id, randbits(48))[0][0]
        return number

    def read(self, user_id: str, task_id: UUID, version: int | None = None) -> Task:
        """Return a task. Raises TaskNotFound, and VersionConflict for another version than the one that is given."""
        for row in self.rows("SELECT document FROM tasks WHERE user_id = ? AND id = ?", user_id, str(task_id)):
            if version in (None, (stored := task_of(row)).version):
                return stored
            raise VersionConflict(stored.version)
        raise TaskNotFound

    def carry_out(self, write: Write, now: datetime) -> Change:
        task = write.task
        match write.kind:
            case "add":
                return self.add(task)
            case "save":
                return self.save(task)
            case "remove":
                return self.remove(task.user_id, task.id, now, task.version)
            case "keep":
                return self.read(task.user_id, task.id, task.version)

    def add(self, task: Task) -> Task:
        if self.rows(ANY_ID, {"user_id": task.user_id, "id": str(task.id)}):
            raise TaskAlreadyExists
        return self._store(task)

    def save(self, task: Task) -> Task:
        stored = self.read(task.user_id, task.id, task.version)
        return self._store(replace(task, created_at=stored.created_at))

    def remove(self, user_id: str, task_id: UUID, removed_at: datetime, version: int | None) -> Removal:
        self.read(user_id, task_id, version)
        removal = Removal(id=task_id, version=self.take_number(user_id))
        self.rows("DELETE FROM tasks WHERE user_id = ? AND id = ?", user_id, str(task_id))
        sql = "INSERT INTO tombstones VALUES (?, ?, ?, ?)"
        self.rows(sql, user_id, str(task_id), removal.version, text_of(removed_at))
        return removal

    def _store(self, task: Task) -> Task:
        stored = replace(task, version=self.take_number(task.user_id))
        self.rows(
            "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?)",
            stored.user_id,
            str(stored.id),
            stored.version,
            text_of(stored.created_at),
            stored.is_completed,
            search_key(stored.title),
            document_of(stored),
        )
        return stored

    def store_outcome(self, user_id: str, once: Once, applied: Applied, now: datetime) -> None:
        if self.rows("SELECT key FROM idempotency_keys WHERE user_id = ? AND key = ?", user_id, once.key):
            raise IdempotencyKeyUsed
        outcome = json.dumps([[*map(document_of, applied.results)], str(applied.state), applied.has_changed])
        sql = "INSERT INTO idempotency_keys VALUES (?, ?, ?, ?, ?)"
        self.rows(sql, user_id, once.key, once.fingerprint, outcome, text_of(now))


def text_of(moment: datetime) -> str:
    """Return a time as text that sorts by time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def document_of(change: Change) -> str:
    """Return a task or a deletion as JSON."""
    return json.dumps(
        asdict(change), default=lambda value: text_of(value) if isinstance(value, datetime) else str(value)
    )


def change_of(document: str) -> Change:
    """Return what `document_of` has written."""
    values = json.loads(document)
    values["id"] = UUID(values["id"])
    if "title" not in values:
        return Removal(**values)
    times = {name: values[name] and datetime.fromisoformat(values[name]) for name in TIMES}
    return Task(**values | times)


def task_of(row: tuple[str]) -> Task:
    """Return the task in a row of one document."""
    task = change_of(row[0])
    assert isinstance(task, Task)
    return task
