"""The tables for SQLAlchemy Core. Every key begins with `user_id`, so that one user's rows are adjacent.

The CHECK constraints, which apply the domain's rules to SQL written by hand, and the defaults are defined in the
migrations only. The tables have no schema here: one service has them in the schema that it is given.
"""

import re

from sqlalchemy import TIMESTAMP, BigInteger, Column, Index, LargeBinary, MetaData, Table, Text, Uuid

VERSION_TABLE = "hextasks_version"
"""Has the revision of the schema. Not Alembic's `alembic_version`, which belongs to the host of the library."""
SCHEMA_RULE = "must be 1 to 63 lower-case letters, digits and underscores; it must not begin with a digit or pg_"
_SCHEMA_NAME = re.compile("(?!pg_)[a-z_][a-z0-9_]{0,62}")

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
    # The search key of a title that is not ASCII. The key of any other is `lower(title)`.
    Column("title_key", Text()),
)
Index("tasks_by_version", tasks.c.user_id, tasks.c.version)
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
    # Random when the row is made: a number means something only together with it.
    Column("epoch", BigInteger(), nullable=False),
    # The highest number of a purged tombstone, or 0.
    Column("purged_to", BigInteger(), nullable=False),
)

task_tombstones = Table(
    "task_tombstones",
    metadata,
    _user_id(),
    Column("task_id", Uuid(), primary_key=True),
    Column("version", BigInteger(), primary_key=True),
    Column("removed_at", TIMESTAMP(timezone=True), nullable=False),
)
Index("task_tombstones_by_version", task_tombstones.c.user_id, task_tombstones.c.version)
Index("task_tombstones_by_age", task_tombstones.c.removed_at)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _user_id(),
    Column("key", Text(collation="C"), primary_key=True),
    Column("fingerprint", LargeBinary(), nullable=False),
    # The state after the write, and what it returned, as JSON.
    Column("number", BigInteger(), nullable=False),
    Column("epoch", BigInteger(), nullable=False),
    Column("result", Text(), nullable=False),
    Column("stored_at", TIMESTAMP(timezone=True), nullable=False),
)
Index("idempotency_keys_by_age", idempotency_keys.c.stored_at)

TABLES = frozenset({*metadata.tables, VERSION_TABLE})
"""The names of all tables, by which a host's Alembic can leave them alone."""


def is_schema_name(name: str) -> bool:
    """Return whether a schema may have a name, which needs no escape within quotation marks."""
    return _SCHEMA_NAME.fullmatch(name) is not None
