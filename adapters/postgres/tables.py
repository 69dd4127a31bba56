"""The tables, as SQLAlchemy Core knows them. Every key is led by `user_id`, so one user's rows live together.

The CHECK constraints repeat the domain's rules for whoever writes SQL by hand; migrations hold their own frozen copy.
"""

from sqlalchemy import TIMESTAMP, BigInteger, CheckConstraint, Column, Index, MetaData, Table, Text, Uuid

# What Python's str.strip() removes, less the control characters, which another constraint refuses anywhere.
WHITE_SPACE = r"\u0020\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
WHITE_SPACE += r"\u2028\u2029\u202f\u205f\u3000"
CONTROL_CHARACTERS = r"[\u0001-\u001f\u007f-\u009f]"

metadata = MetaData(
    naming_convention={"pk": "%(table_name)s_pkey", "ck": "%(table_name)s_%(constraint_name)s"},
)


def _user_id() -> Column[str]:
    # "C" compares bytes: equality is what the domain means by it, and needs no locale.
    return Column("user_id", Text(collation="C"), primary_key=True)


def _user_id_check() -> CheckConstraint:
    return CheckConstraint(
        f"char_length(user_id) BETWEEN 1 AND 255 AND user_id !~ '{CONTROL_CHARACTERS}'", name="user_id_valid"
    )


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
    _user_id_check(),
    CheckConstraint("char_length(title) BETWEEN 1 AND 500", name="title_length"),
    CheckConstraint(f"title = btrim(title, E'{WHITE_SPACE}')", name="title_stripped"),
    CheckConstraint(f"title !~ '{CONTROL_CHARACTERS}'", name="title_no_control"),
    CheckConstraint("completed_at BETWEEN created_at AND updated_at", name="completed_at_in_order"),
    CheckConstraint("updated_at >= created_at", name="updated_at_in_order"),
    CheckConstraint("version >= 1", name="version_positive"),
)
Index("tasks_newest_first", tasks.c.user_id, tasks.c.created_at, tasks.c.id)
# One for each filter: without it, a user with a hundred thousand open tasks would wait for the one completed.
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
    _user_id_check(),
    CheckConstraint("value >= 1", name="value_positive"),
)

task_tombstones = Table(
    "task_tombstones",
    metadata,
    _user_id(),
    Column("task_id", Uuid(), primary_key=True),
    Column("version", BigInteger(), primary_key=True),
    Column("removed_at", TIMESTAMP(timezone=True), nullable=False),
    _user_id_check(),
)
