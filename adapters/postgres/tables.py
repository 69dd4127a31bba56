"""The tables for SQLAlchemy Core. Every key begins with `user_id`, so that one user's rows are adjacent.

The CHECK constraints, which apply the domain's rules to SQL written by hand, are defined in the migrations only.
"""

from sqlalchemy import TIMESTAMP, BigInteger, Column, Index, MetaData, Table, Text, Uuid

metadata = MetaData(naming_convention={"pk": "%(table_name)s_pkey"})


def _user_id() -> Column[str]:
    # "C" compares bytes: equality is the domain's, and needs no locale.
    return Column("user_id", Text(collation="C"), primary_key=True)


tasks = Table(
    "tasks",
    metadata,
    _user_id(),
    Column("id", Uuid(), primary_key=True),
    Column("title", Text(), nullable=False),
    Column("created_at", TIMESTAMP(timezone=True), nullable=False),
    Column("updated_at", TIMESTAMP(timezone=True), nullable=False),
    Column("completed_at", TIMESTAMP(timezone=True)),
    Column("version", BigInteger(), nullable=False),
)
Index("tasks_newest_first", tasks.c.user_id, tasks.c.created_at, tasks.c.id)
# One for each filter: otherwise a page of few completed tasks would scan all open ones.
for _name, _filter in (
    ("tasks_open_newest_first", tasks.c.completed_at.is_(None)),
    ("tasks_completed_newest_first", tasks.c.completed_at.is_not(None)),
):
    Index(_name, tasks.c.user_id, tasks.c.created_at, tasks.c.id, postgresql_where=_filter)

task_counters = Table(
    "task_counters",
    metadata,
    _user_id(),
    Column("value", BigInteger(), nullable=False),
)

task_tombstones = Table(
    "task_tombstones",
    metadata,
    _user_id(),
    Column("task_id", Uuid(), primary_key=True),
    Column("version", BigInteger(), primary_key=True),
    Column("removed_at", TIMESTAMP(timezone=True), nullable=False),
)
