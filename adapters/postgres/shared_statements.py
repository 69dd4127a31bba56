"""The statements that carry out many calls at once: one operation on many tasks, of many users or of one.

Their parameters are those of the single statements, each an array with one element for each call; only a statement
for one user takes that user's id itself, and compares it with `user_id` of every table. A task must not stand twice in
the arrays of a write.

A write skips locked rows, so no user's transaction delays another user (unless a transaction outside of the service has
inserted the same task and is not committed). It returns a row for each call that it carried out (`is_done`, with the
new version and the epoch) and for each that it rejected (with the stored version, NULL without a task). A call without
a row has to run alone: its user has no counter yet, a row is locked, or it was changed before the lock was taken.
Numbers are taken under the counter's lock, so that they are committed in order; a user's calls get theirs in the order
of the arrays.

The planner does not see how many elements an array has, and tasks are found through the primary key by construction
(LATERAL, ON CONFLICT). So the first plan suits any number of calls and any size of the table, and is kept.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    bindparam,
    column,
    delete,
    false,
    func,
    insert,
    literal_column,
    null,
    select,
    true,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.selectable import NamedFromClause

from adapters.postgres.statement import Statement
from adapters.postgres.statements import ADDED, ONE, SAVED, TASK, value_type
from adapters.postgres.tables import task_counters, task_tombstones, tasks

_KEY = [tasks.c.user_id, tasks.c.id]


class SharedStatements:
    """The four statements, for the tasks of many users or of one user."""

    def __init__(self, *, one_user: bool) -> None:
        self._user_id = bindparam("user_id", type_=value_type(tasks.c.user_id)) if one_user else None
        self.get = self._get()
        """Returns the tasks that exist, in any order."""
        self.add = self._add()
        """Adds tasks whose owners have no task with the same id."""
        self.save = self._save()
        """Saves tasks that are stored in the version given, and returns `created_at`, too."""
        self.remove = self._remove()
        """Removes tasks that are stored in the version given, or in any where that is NULL."""

    def _get(self) -> Statement:
        calls = self._calls(_KEY)
        stored = select(*TASK).where(*self._is_task_of(calls)).limit(ONE).lateral("stored")
        return Statement.compiled("task_get_many", select(stored).select_from(calls).join(stored, true()), is_read=True)

    def _add(self) -> Statement:
        wanted = self._wanted(ADDED, with_removed=True)
        is_possible = wanted.c.stored_version.is_(null())
        numbered = self._numbered(wanted, is_possible)
        added = self._insert(numbered).on_conflict_do_nothing().returning(*_KEY, tasks.c.version)
        return self._compiled("task_add_many", wanted, is_possible, numbered, added.cte("done"))

    def _save(self) -> Statement:
        wanted = self._wanted([*SAVED, *_KEY, tasks.c.version])
        is_possible = wanted.c.stored_version == wanted.c.version
        kept = [column for column in ADDED if column.name not in wanted.c]
        numbered = self._numbered(wanted, is_possible, self._locked(wanted, kept))
        saved = self._insert(numbered)
        saved = saved.on_conflict_do_update(
            index_elements=_KEY, set_={column: saved.excluded[column.name] for column in (*SAVED, tasks.c.version)}
        )
        done = saved.returning(*_KEY, tasks.c.version, tasks.c.created_at).cte("done")
        return self._compiled("task_save_many", wanted, is_possible, numbered, done)

    def _remove(self) -> Statement:
        wanted = self._wanted([*_KEY, tasks.c.version, task_tombstones.c.removed_at])
        is_possible = wanted.c.stored_version == func.coalesce(wanted.c.version, wanted.c.stored_version)
        numbered = self._numbered(wanted, is_possible, self._locked(wanted, [tasks.c.version.label("locked_version")]))
        gone = (
            delete(tasks)
            # True of all rows, but it makes the planner expect few of them, and so use the primary key.
            .where(*self._is_task_of(numbered), numbered.c.n.between(ONE, literal_column("1000")))
            .returning(*_KEY, numbered.c.number, numbered.c.removed_at)
            .cte("gone")
        )
        row = select(self._user_of(gone), gone.c.id, gone.c.number, gone.c.removed_at)
        tombstone = task_tombstones.c
        done = (
            insert(task_tombstones)
            .from_select([*tombstone], row)
            .returning(tombstone.user_id, tombstone.task_id.label("id"), tombstone.version)
            .cte("done")
        )
        return self._compiled("task_remove_many", wanted, is_possible, numbered, done)

    def _user_of(self, rows: FromClause) -> ColumnElement[Any]:
        return rows.c.user_id if self._user_id is None else self._user_id

    def _is_task_of(self, rows: FromClause) -> tuple[ColumnElement[bool], ...]:
        return tasks.c.user_id == self._user_of(rows), tasks.c.id == rows.c.id

    def _calls(self, columns: Sequence[Column[Any]]) -> NamedFromClause:
        """Make rows of the arrays, with their place in them as `n`."""
        columns = [c for c in columns if self._user_id is None or c.name != "user_id"]
        # Through sub-selects, so that the planner expects the same number of elements in any array.
        arrays = (select(bindparam(c.name, type_=ARRAY(value_type(c)))).scalar_subquery() for c in columns)
        rows = func.unnest(*arrays).table_valued(
            *(column(c.name, value_type(c)) for c in columns), with_ordinality="n", name="calls"
        )
        return rows.render_derived()

    def _wanted(self, columns: Sequence[Column[Any]], *, with_removed: bool = False) -> CTE:
        """Return the calls, and the version that is stored of each one's task, or of its deletion."""
        calls = self._calls(columns)
        stored, removal = select(tasks.c.version).where(*self._is_task_of(calls)), task_tombstones.c
        removed = select(removal.version).where(removal.user_id == self._user_of(calls), removal.task_id == calls.c.id)
        found = (stored.union_all(removed) if with_removed else stored).limit(ONE).lateral("stored")
        own = [] if self._user_id is None else [self._user_id.label("user_id")]
        rows = select(*own, calls, found.c.version.label("stored_version")).select_from(calls)
        return rows.join(found, true(), isouter=True).cte("wanted")

    def _locked(self, wanted: CTE, columns: Sequence[ColumnElement[Any]]) -> FromClause:
        """Lock the tasks, and read columns of them."""
        locked = select(*columns).where(*self._is_task_of(wanted), tasks.c.version == wanted.c.stored_version)
        return locked.with_for_update(skip_locked=True).lateral("locked")

    def _numbered(self, wanted: CTE, is_possible: ColumnElement[bool], locked: FromClause | None = None) -> CTE:
        """Lock the counters, and give numbers to the calls that can be carried out."""
        counter = (
            select(task_counters.c.value, task_counters.c.epoch)
            .where(task_counters.c.user_id == self._user_of(wanted))
            .with_for_update(skip_locked=True)
            .lateral("counter")
        )
        place = func.row_number(type_=BigInteger()).over(partition_by=wanted.c.user_id, order_by=wanted.c.n)
        count = func.count(type_=BigInteger()).over(partition_by=wanted.c.user_id)
        numbers = [
            counter.c.epoch,
            (counter.c.value + place).label("number"),
            (counter.c.value + count).label("last_number"),
        ]
        kept = [] if locked is None else [*locked.c]
        rows = select(wanted, *kept, *numbers).select_from(wanted)
        rows = rows.join(counter, true())
        if locked is not None:
            rows = rows.join(locked, true())
        return rows.where(is_possible).cte("numbered")

    def _insert(self, numbered: CTE) -> postgresql.Insert:
        values = [self._user_of(numbered) if c.name == "user_id" else numbered.c[c.name] for c in ADDED]
        return postgresql.insert(tasks).from_select([*ADDED, tasks.c.version], select(*values, numbered.c.number))

    def _compiled(
        self, name: str, wanted: CTE, is_possible: ColumnElement[bool], numbered: CTE, done: CTE
    ) -> Statement:
        """Move the counters forward, and return the outcomes of the calls."""
        last = select(self._user_of(numbered), numbered.c.number).where(numbered.c.number == numbered.c.last_number)
        moved = postgresql.insert(task_counters).from_select([task_counters.c.user_id, task_counters.c.value], last)
        moved = moved.on_conflict_do_update(
            index_elements=[task_counters.c.user_id], set_={task_counters.c.value: moved.excluded.value}
        )
        is_same = (self._user_of(numbered) == done.c.user_id) & (numbered.c.id == done.c.id)
        carried_out = select(*done.c, numbered.c.epoch, true().label("is_done")).join_from(done, numbered, is_same)
        nothing = (null() for _ in [*done.c][3:])
        rejected = select(wanted.c.user_id, wanted.c.id, wanted.c.stored_version, *nothing, null(), false())
        rejected = rejected.where(is_possible.is_not(true()))
        return Statement.compiled(name, carried_out.add_cte(moved.cte("moved")).union_all(rejected))


@cache
def shared_statements(*, one_user: bool) -> SharedStatements:
    """Return the statements for many users or for one, compiled at the first call."""
    return SharedStatements(one_user=one_user)
