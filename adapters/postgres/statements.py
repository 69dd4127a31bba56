"""The SQL of the repository, written with SQLAlchemy Core and compiled once for asyncpg.

A write is one statement, so one round trip and atomic without BEGIN and COMMIT: a CTE takes the user's next number,
and the outer part writes with it. Taking the number locks the user's counter row until the statement commits, so one
user's writes commit in the order of their numbers, and two of them can never deadlock. A CTE takes no number
for a task that does not exist in the required version; only a write that loses a race while it waits leaves a gap.

Parameters have the names of the columns that they fill or are compared with. Each statement is for one user, and
compares the user's id with `user_id` of every table.
"""

from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    Column,
    Integer,
    Select,
    Text,
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
from sqlalchemy.types import TypeEngine

from adapters.postgres.statement import Statement
from adapters.postgres.tables import task_counters, task_tombstones, tasks
from domain import TASK_FIELDS

TASK = [tasks.c[name] for name in TASK_FIELDS]
"""The columns of a stored task, in the order in which `Task.restore` takes them."""
ADDED = [column for column in TASK if column is not tasks.c.version]
"""The columns that an added task fills; its version comes from the counter."""
SAVED = [column for column in ADDED if column.name not in ("user_id", "id", "created_at")]
"""The columns that a save replaces."""


def value_type(column: Column[Any]) -> TypeEngine[Any]:
    """Return the type of a column's values, without its collation."""
    return Text() if isinstance(column.type, Text) else column.type


_given = {column.name: bindparam(column.name, type_=value_type(column)) for column in tasks.c}
ONE = literal_column("1", BigInteger())
_this_task = (tasks.c.user_id == _given["user_id"], tasks.c.id == _given["id"])
_this_version = (*_this_task, tasks.c.version == _given["version"])


def _next_number(*conditions: Any) -> CTE:
    return (
        update(task_counters)
        .where(task_counters.c.user_id == _given["user_id"], exists(select(1).select_from(tasks).where(*conditions)))
        .values(value=task_counters.c.value + ONE)
        .returning(task_counters.c.value)
        .cte("counter")
    )


def _add() -> Statement:
    first = postgresql.insert(task_counters).values(user_id=_given["user_id"], value=ONE)
    counter = (
        first.on_conflict_do_update(
            index_elements=[task_counters.c.user_id], set_={"value": task_counters.c.value + ONE}
        )
        .returning(task_counters.c.value)
        .cte("counter")
    )
    row = select(*(_given[column.name] for column in ADDED), counter.c.value)
    added = insert(tasks).from_select([*ADDED, tasks.c.version], row).returning(tasks.c.version)
    return Statement.compiled("task_add", added)


def _save() -> Statement:
    counter = _next_number(*_this_version)
    saved = update(tasks).where(*_this_version).values({column: _given[column.name] for column in SAVED})
    return Statement.compiled(
        "task_save", saved.values(version=counter.c.value).returning(tasks.c.created_at, tasks.c.version)
    )


def _remove() -> Statement:
    expected = (*_this_task, or_(_given["version"].is_(null()), tasks.c.version == _given["version"]))
    counter = _next_number(*expected)
    gone = delete(tasks).where(*expected, counter.c.value > literal_column("0")).returning(tasks.c.id).cte("gone")
    removed_at = bindparam("removed_at", type_=task_tombstones.c.removed_at.type)
    tombstone = select(_given["user_id"], gone.c.id, counter.c.value, removed_at)
    return Statement.compiled(
        "task_remove",
        insert(task_tombstones).from_select([*task_tombstones.c], tombstone).returning(task_tombstones.c.version),
    )


@cache
def page_statement(completed: bool | None, *, after: bool) -> Statement:
    """Return the statement for a page: one for each filter, so that each uses its own index."""
    place = (tasks.c.created_at, tasks.c.id)
    page: Select[Any] = select(*TASK).where(tasks.c.user_id == _given["user_id"])
    if completed is not None:
        page = page.where(tasks.c.completed_at.is_not(None) if completed else tasks.c.completed_at.is_(None))
    if after:
        page = page.where(tuple_(*place) < tuple_(*(bindparam(f"after_{c.name}", type_=c.type) for c in place)))
    page = page.order_by(*(column.desc() for column in place))
    return Statement.compiled("task_list", page.limit(bindparam("limit", type_=Integer())), is_read=True)


ADD = _add()
SAVE = _save()
REMOVE = _remove()
GET = Statement.compiled("task_get", select(*TASK).where(*_this_task), is_read=True)
