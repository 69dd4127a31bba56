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
    FromClause,
    Integer,
    Select,
    Text,
    any_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from adapters.postgres.statement import Statement
from adapters.postgres.tables import idempotency_keys, task_counters, task_tombstones, tasks
from domain import TASK_FIELDS, search_key

TASK = [tasks.c[name] for name in TASK_FIELDS]
"""The columns of a stored task, in the order in which `Task.restore` takes them."""
ADDED = [column for column in tasks.c if column is not tasks.c.version]
"""The columns that an added task fills; its version comes from the counter. The last one is the search key."""
SAVED = [column for column in ADDED if column.name not in ("user_id", "id", "created_at")]
"""The columns that a save replaces."""


def value_type(column: Column[Any]) -> TypeEngine[Any]:
    """Return the type of a column's values, without its collation."""
    return Text() if isinstance(column.type, Text) else column.type


def title_key(title: str) -> str | None:
    """Return the search key of a title, unless the database can derive it: see `_KEY`."""
    return None if title.isascii() else search_key(title)


_KEY = func.coalesce(tasks.c.title_key, func.lower(tasks.c.title.collate("C")))
"""The search key of a stored title. In the locale "C" only ASCII letters have a lower case, as in an ASCII title."""
_given = {column.name: bindparam(column.name, type_=value_type(column)) for column in tasks.c}
ONE = literal_column("1", BigInteger())
_LIMIT = bindparam("limit", type_=Integer())
_COUNTER = (task_counters.c.epoch, task_counters.c.value)
_this_task = (tasks.c.user_id == _given["user_id"], tasks.c.id == _given["id"])
_this_version = (*_this_task, tasks.c.version == _given["version"])


def _next_number(*conditions: Any) -> CTE:
    return (
        update(task_counters)
        .where(task_counters.c.user_id == _given["user_id"], exists(select(1).select_from(tasks).where(*conditions)))
        .values(value=task_counters.c.value + ONE)
        .returning(*_COUNTER)
        .cte("counter")
    )


def _add() -> Statement:
    # Both are judged in one snapshot: while another transaction removes the task, its deletion is not visible yet.
    exists_already = exists(select(1).select_from(tasks).where(*_this_task))
    was_removed = exists(
        select(1).where(task_tombstones.c.user_id == _given["user_id"], task_tombstones.c.task_id == _given["id"])
    )
    first = postgresql.insert(task_counters).from_select(
        [task_counters.c.user_id, task_counters.c.value],
        select(_given["user_id"], ONE).where(~exists_already, ~was_removed),
    )
    counter = (
        first.on_conflict_do_update(
            index_elements=[task_counters.c.user_id], set_={"value": task_counters.c.value + ONE}
        )
        .returning(*_COUNTER)
        .cte("counter")
    )
    row = select(*(_given[column.name] for column in ADDED), counter.c.value)
    added = insert(tasks).from_select([*ADDED, tasks.c.version], row).returning(tasks.c.version).cte("added")
    return Statement.compiled("task_add", select(added.c.version, counter.c.epoch))


def _save() -> Statement:
    counter = _next_number(*_this_version)
    saved = update(tasks).where(*_this_version).values({column: _given[column.name] for column in SAVED})
    return Statement.compiled(
        "task_save",
        saved.values(version=counter.c.value).returning(tasks.c.created_at, tasks.c.version, counter.c.epoch),
    )


def _remove() -> Statement:
    expected = (*_this_task, or_(_given["version"].is_(null()), tasks.c.version == _given["version"]))
    counter = _next_number(*expected)
    gone = delete(tasks).where(*expected, counter.c.value > literal_column("0")).returning(tasks.c.id).cte("gone")
    removed_at = bindparam("removed_at", type_=task_tombstones.c.removed_at.type)
    row = select(_given["user_id"], gone.c.id, counter.c.value, removed_at)
    tombstone = insert(task_tombstones).from_select([*task_tombstones.c], row)
    tombstones = tombstone.returning(task_tombstones.c.version).cte("tombstones")
    return Statement.compiled("task_remove", select(tombstones.c.version, counter.c.epoch))


@cache
def page_statement(completed: bool | None, *, after: bool, search: bool) -> Statement:
    """Return the statement for a page: one for each filter, so that each uses its own index.

    Each row begins with the user's epoch and number. The tasks are left out if these are the known ones; then, and for
    an empty page, there is one row.
    """
    counter = task_counters.alias("counter")
    known = [bindparam(f"known_{name}", type_=BigInteger()) for name in ("epoch", "number")]
    place = (tasks.c.created_at, tasks.c.id)
    page: Select[Any] = select(*TASK).where(
        tasks.c.user_id == _given["user_id"],
        or_(counter.c.epoch.is_distinct_from(known[0]), counter.c.value.is_distinct_from(known[1])),
    )
    if completed is not None:
        page = page.where(tasks.c.completed_at.is_not(None) if completed else tasks.c.completed_at.is_(None))
    if after:
        page = page.where(tuple_(*place) < tuple_(*(bindparam(f"after_{c.name}", type_=c.type) for c in place)))
    if search:
        page = page.where(func.strpos(_KEY, bindparam("text", type_=Text())) > literal_column("0"))
    page = page.order_by(*(column.desc() for column in place)).limit(_LIMIT)
    return Statement.compiled("task_list", _beside_counter(counter, page), is_read=True)


def _changes() -> Statement:
    number, removals_after = (bindparam(name, type_=BigInteger()) for name in ("number", "removals_after"))
    tombstone = task_tombstones.c
    empty = {"id": tombstone.task_id, "user_id": tombstone.user_id, "version": tombstone.version}
    put = select(*TASK).where(tasks.c.user_id == _given["user_id"], tasks.c.version > number)
    removal = select(*(empty.get(c.name, null().cast(value_type(c))).label(c.name) for c in TASK))
    removal = removal.where(tombstone.user_id == _given["user_id"], tombstone.version > removals_after)
    parts = (
        put.order_by(tasks.c.version).limit(_LIMIT).subquery().select(),
        removal.order_by(tombstone.version).limit(_LIMIT).subquery().select(),
    )
    both = union_all(*parts).subquery()
    counter = task_counters.alias("counter")
    page = select(both).order_by(both.c.version).limit(_LIMIT)
    return Statement.compiled("task_changes", _beside_counter(counter, page, counter.c.purged_to), is_read=True)


def _beside_counter(counter: FromClause, page: Select[Any], *more: Column[Any]) -> Select[Any]:
    """Return the rows of a page, at least one, each behind the columns of the user's counter."""
    rows = page.lateral("page")
    one = select(ONE.label("one")).subquery("one")
    joined = one.outerjoin(counter, counter.c.user_id == _given["user_id"]).outerjoin(rows, true())
    return select(counter.c.epoch, counter.c.value, *more, *rows.c).select_from(joined)


ADD = _add()
SAVE = _save()
REMOVE = _remove()
GET = Statement.compiled("task_get", select(*TASK).where(*_this_task), is_read=True)
CHANGES = _changes()
STATES = Statement.compiled(
    "task_states",
    select(task_counters.c.user_id, *_COUNTER).where(
        task_counters.c.user_id == any_(bindparam("user_ids", type_=ARRAY(Text())))
    ),
    is_read=True,
)
ALL_STATES = Statement.compiled(
    "task_states_of_all",
    select(task_counters.c.user_id, *_COUNTER)
    .where(task_counters.c.user_id > bindparam("after", type_=Text()))
    .order_by(task_counters.c.user_id)
    .limit(_LIMIT),
    is_read=True,
)
"""Like those that purge, not for one user."""
RECALL = Statement.compiled(
    "idempotency_key_get",
    select(*(idempotency_keys.c[name] for name in ("fingerprint", "epoch", "number", "result"))).where(
        idempotency_keys.c.user_id == _given["user_id"], idempotency_keys.c.key == bindparam("key", type_=Text())
    ),
    is_read=True,
)
