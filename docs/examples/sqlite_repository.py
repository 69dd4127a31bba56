"""A TaskRepository on SQLite: how a third adapter is made. It passes all of `hextasks.testing.contract`.

    tasks = Tasks.on(SqliteTaskRepository("tasks.db"), clock=SystemClock(), ids=Uuid7Ids())

Each method is one transaction without an `await`, so calls within a process do not mix; SQLite's lock separates
processes. A call blocks the event loop for as long as it takes: short for a file on a local disk. `sqlite_tables.py`
belongs to it. The methods have the docstrings of the port.
"""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from hextasks import (
    NOTHING,
    ApplicationError,
    Applied,
    Change,
    ChangePage,
    IdempotencyKeyReused,
    Once,
    PageRequest,
    State,
    StateMismatch,
    Task,
    TaskPage,
    TaskRepository,
    Write,
    WritesRejected,
    Written,
    check_id,
    check_since,
    search_key,
)

from .sqlite_tables import Tables, change_of, task_of, text_of

LIST = """
SELECT document FROM tasks
WHERE user_id = :user_id AND (created_at, id) < (:created_at, :id) AND is_completed IN (:one, :other)
    AND instr(title_key, :text)
ORDER BY created_at DESC, id DESC LIMIT :limit
"""
CHANGES = """
SELECT version, document FROM tasks WHERE user_id = :user_id AND version > :since
UNION ALL
SELECT version, json_object('id', id, 'version', version) FROM tombstones
WHERE user_id = :user_id AND version > max(:since, :began)
ORDER BY version LIMIT :limit
"""
NEWER_THAN_ALL = ("~", "~")  # sorts after every time and every id


class SqliteTaskRepository(TaskRepository):
    """Keeps tasks in a file. For one thread; any number of processes may use the same file."""

    def __init__(self, path: str) -> None:
        """Open the file, or create it; ":memory:" keeps everything in memory."""
        self.tables = Tables(path)

    def close(self) -> None:
        """Close the file."""
        self.tables.database.close()

    async def add(self, task: Task) -> Written[Task]:
        with self.tables.transaction():
            return self._written(self.tables.add(task))

    async def get(self, user_id: str, task_id: UUID) -> Task:
        check_id(task_id)
        with self.tables.transaction():
            return self.tables.read(user_id, task_id)

    async def get_many(self, user_id: str, task_ids: Collection[UUID]) -> dict[UUID, Task]:
        for each in task_ids:
            check_id(each)
        ids = json.dumps([str(each) for each in task_ids])
        sql = "SELECT document FROM tasks WHERE user_id = ? AND id IN (SELECT value FROM json_each(?))"
        with self.tables.transaction():
            return {task.id: task for task in map(task_of, self.tables.rows(sql, user_id, ids))}

    async def list(self, user_id: str, page: PageRequest, *, known: State | None = None) -> TaskPage:
        after = (text_of(page.after.created_at), str(page.after.id)) if page.after else NEWER_THAN_ALL
        one, other = (False, True) if page.completed is None else (page.completed, page.completed)
        named = {"user_id": user_id, "created_at": after[0], "id": after[1], "one": one, "other": other}
        named |= {"text": search_key(page.text or ""), "limit": page.limit + 1}
        with self.tables.transaction():
            state = self.tables.state(user_id)
            if state == known:
                return TaskPage(tasks=(), next=None, state=state)
            return TaskPage.cut([*map(task_of, self.tables.rows(LIST, named))], page.limit, state)

    async def save(self, task: Task) -> Written[Task]:
        with self.tables.transaction():
            return self._written(self.tables.save(task))

    async def remove(
        self, user_id: str, task_id: UUID, *, removed_at: datetime, expected_version: int | None = None
    ) -> Written[None]:
        check_id(task_id)
        with self.tables.transaction():
            self.tables.remove(user_id, task_id, removed_at, expected_version)
            return Written(task=None, state=self.tables.state(user_id))

    async def apply(
        self,
        user_id: str,
        writes: Sequence[Write],
        *,
        now: datetime,
        once: Once | None = None,
        if_state: State | None = None,
    ) -> Applied:
        results: list[Change] = []
        errors: dict[int, ApplicationError] = {}
        with self.tables.transaction():
            before = self.tables.state(user_id)
            if if_state not in (None, before):
                raise StateMismatch
            for place, write in enumerate(writes):
                try:
                    results.append(self.tables.carry_out(write, now))
                except ApplicationError as error:
                    errors[place] = error
            if errors:
                raise WritesRejected(errors)
            state = self.tables.state(user_id)
            applied = Applied(results=tuple(results), state=state, has_changed=state != before)
            if once:
                self.tables.store_outcome(user_id, once, applied, now)
            return applied

    async def recall(self, user_id: str, once: Once) -> Applied | None:
        sql = "SELECT fingerprint, outcome FROM idempotency_keys WHERE user_id = ? AND key = ?"
        with self.tables.transaction():
            for fingerprint, outcome in self.tables.rows(sql, user_id, once.key):
                if fingerprint != once.fingerprint:
                    raise IdempotencyKeyReused
                documents, state, changed = json.loads(outcome)
                results = tuple(map(change_of, documents))
                return Applied(results=results, state=State.parse(state), has_changed=changed, is_replayed=True)
        return None

    async def changes(self, user_id: str, *, since: State, limit: int) -> ChangePage:
        with self.tables.transaction():
            state = self.tables.state(user_id)
            floor = self.tables.rows("SELECT max(purged_to) FROM counters WHERE user_id = ?", user_id)
            check_since(since, state, purged_to=floor[0][0] or 0)
            began = state.number if since == NOTHING else since.began
            named = {"user_id": user_id, "since": since.number, "began": began, "limit": limit + 1}
            changes = [change_of(document) for _, document in self.tables.rows(CHANGES, named)]
            return ChangePage.cut(changes, limit=limit, since=since, state=state)

    async def states(self, user_ids: Collection[str]) -> dict[str, State]:
        sql = "SELECT user_id, epoch, number FROM counters WHERE user_id IN (SELECT value FROM json_each(?))"
        with self.tables.transaction():
            rows = self.tables.rows(sql, json.dumps([*user_ids]))
            return {user_id: State(epoch=epoch, number=number) for user_id, epoch, number in rows}

    async def all_states(self, *, after: str, limit: int) -> dict[str, State]:
        sql = "SELECT user_id, epoch, number FROM counters WHERE user_id > ? ORDER BY user_id LIMIT ?"
        with self.tables.transaction():
            rows = self.tables.rows(sql, after, limit)
            return {user_id: State(epoch=epoch, number=number) for user_id, epoch, number in rows}

    async def purge(self, *, removed_before: datetime, keys_before: datetime, limit: int) -> int:
        with self.tables.transaction():
            sql = "SELECT user_id, id, version FROM tombstones WHERE removed_at < ? ORDER BY removed_at LIMIT ?"
            removals = self.tables.rows(sql, text_of(removed_before), limit)
            for user_id, task_id, version in removals:
                self.tables.rows("DELETE FROM tombstones WHERE user_id = ? AND id = ?", user_id, task_id)
                sql = "UPDATE counters SET purged_to = max(purged_to, ?) WHERE user_id = ?"
                self.tables.rows(sql, version, user_id)
            sql = """
                DELETE FROM idempotency_keys WHERE rowid IN
                (SELECT rowid FROM idempotency_keys WHERE stored_at < ? ORDER BY stored_at LIMIT ?) RETURNING key
            """
            return len(removals) + len(self.tables.rows(sql, text_of(keys_before), limit))

    async def forget(self, user_id: str) -> int:
        with self.tables.transaction():
            tables = ("tasks", "tombstones", "idempotency_keys", "counters")
            statements = [f"DELETE FROM {table} WHERE user_id = ? RETURNING 1" for table in tables]  # noqa: S608
            return sum(len(self.tables.rows(sql, user_id)) for sql in statements)

    def _written(self, task: Task) -> Written[Task]:
        return Written(task=task, state=self.tables.state(task.user_id))
