"""The SQL of the repository, written with SQLAlchemy Core and compiled once to what asyncpg takes.

A write is one statement, so one round trip and atomic without BEGIN and COMMIT: a CTE takes the user's next number,
and the outer part writes with it. Taking the number locks the user's counter row until the statement commits, so one
user's writes commit in the order of their numbers, and two of them can never deadlock. A CTE takes no number
for a task that is not there in the version asked for; only a write that loses a race while it waits leaves a gap.
"""

from typing import Any

from sqlalchemy import (
    CTE,
    TIMESTAMP,
    BigInteger,
    Integer,
    Select,
    Text,
    Uuid,
    bindparam,
    delete,
    exists,
    insert,
    literal_column,
    null,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql

from adapters.postgres.statement import Statement
from adapters.postgres.tables import task_counters, task_tombstones, tasks

_TIME = TIMESTAMP(timezone=True)

_user_id = bindparam("user_id", type_=Text())
_id = bindparam("id", type_=Uuid())
_version = bindparam("version", type_=BigInteger())
_title = bindparam("title", type_=Text())
_updated_at = bindparam("updated_at", type_=_TIME)
_completed_at = bindparam("completed_at", type_=_TIME)
_one = literal_column("1", BigInteger())

_this_task = (tasks.c.user_id == _user_id, tasks.c.id == _id)


def _next_number(*conditions: Any) -> CTE:
    return (
        update(task_counters)
        .where(task_counters.c.user_id == _user_id, exists(select(1).select_from(tasks).where(*conditions)))
        .values(value=task_counters.c.value + _one)
        .returning(task_counters.c.value)
        .cte("counter")
    )


def _add() -> Statement:
    first = postgresql.insert(task_counters).values(user_id=_user_id, value=_one)
    counter = (
        first.on_conflict_do_update(
            index_elements=[task_counters.c.user_id], set_={"value": task_counters.c.value + _one}
        )
        .returning(task_counters.c.value)
        .cte("counter")
    )
    created_at = bindparam("created_at", type_=_TIME)
    row = select(_user_id, _id, _title, created_at, _updated_at, _completed_at, counter.c.value)
    columns = ["user_id", "id", "title", "created_at", "updated_at", "completed_at", "version"]
    return Statement.compiled("task_add", insert(tasks).from_select(columns, row).returning(tasks.c.version))


def _save() -> Statement:
    this_version = (*_this_task, tasks.c.version == _version)
    counter = _next_number(*this_version)
    return Statement.compiled(
        "task_save",
        update(tasks)
        .where(*this_version)
        .values(title=_title, updated_at=_updated_at, completed_at=_completed_at, version=counter.c.value)
        .returning(tasks.c.created_at, tasks.c.version),
    )


def _remove() -> Statement:
    expected = (*_this_task, or_(_version.is_(null()), tasks.c.version == _version))
    counter = _next_number(*expected)
    gone = delete(tasks).where(*expected, counter.c.value > literal_column("0")).returning(tasks.c.id).cte("gone")
    tombstone = select(_user_id, gone.c.id, counter.c.value, bindparam("removed_at", type_=_TIME))
    return Statement.compiled(
        "task_remove",
        insert(task_tombstones)
        .from_select(["user_id", "task_id", "version", "removed_at"], tombstone)
        .returning(task_tombstones.c.version),
    )


def _get() -> Statement:
    return Statement.compiled("task_get", select(tasks).where(*_this_task), is_read=True)


def _page(completed: bool | None, *, after: bool) -> Statement:
    """One text for each filter, not one with optional parts, so that each can be planned onto its own index."""
    place = (tasks.c.created_at, tasks.c.id)
    page: Select[Any] = select(tasks).where(tasks.c.user_id == _user_id)
    if completed is not None:
        page = page.where(tasks.c.completed_at.is_not(None) if completed else tasks.c.completed_at.is_(None))
    if after:
        before = tuple_(bindparam("after_created_at", type_=_TIME), bindparam("after_id", type_=Uuid()))
        page = page.where(tuple_(*place) < before)
    page = page.order_by(*(column.desc() for column in place))
    return Statement.compiled("task_list", page.limit(bindparam("limit", type_=Integer())), is_read=True)


ADD = _add()
SAVE = _save()
REMOVE = _remove()
GET = _get()
PAGES = {
    (completed, after): _page(completed, after=after) for completed in (None, True, False) for after in (False, True)
}
