"""Tables filled before each window, by SQL, in the layout of each contender."""

from dataclasses import dataclass
from typing import Protocol

from tests.benchmarks.postgres import Postgres
from tests.benchmarks.workload import KEPT, USERS, Requests

_ROWS = """\
SELECT format('bench-%s-%s', {run}, n % {users}) AS user_id,
       ('018f0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id,
       'Buy milk ' || n AS title,
       now() - interval '1 day' + n * interval '1 millisecond' AS moment,
       1 + n / {users} AS version
FROM generate_series(0, {last}) AS n"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """How a contender keeps tasks."""

    fill: tuple[str, ...]
    """Statements that replace all rows; `{rows}` stands for the query that yields the new ones."""
    writes: str
    """A query whose result moves by one with each create, update, complete, or deletion of a seeded task."""


HEXTASKS = Schema(
    fill=(
        "TRUNCATE tasks, task_counters, task_tombstones",
        "INSERT INTO tasks (user_id, id, title, created_at, updated_at, version)"
        " SELECT user_id, id, title, moment, moment, version FROM ({rows}) AS rows",
        "INSERT INTO task_counters (user_id, value)"
        " SELECT user_id, max(version) FROM ({rows}) AS rows GROUP BY user_id",
        "VACUUM ANALYZE tasks",
        "VACUUM ANALYZE task_counters",
    ),
    writes="SELECT coalesce(sum(value), 0)::bigint FROM task_counters",
)
USUAL_STACK = Schema(
    fill=(
        "TRUNCATE tasks",
        "INSERT INTO tasks (id, user_id, title, is_completed, created_at, updated_at, version)"
        " SELECT id, user_id, title, false, moment, moment, 1 FROM ({rows}) AS rows",
        "VACUUM ANALYZE tasks",
    ),
    writes="SELECT coalesce(sum(version), 0)::bigint FROM tasks",
)


class Filled(Protocol):
    """What has a database with tasks."""

    @property
    def database(self) -> str:
        """Return its name."""

    @property
    def schema(self) -> Schema:
        """Return how the tasks are kept."""


def fill(postgres: Postgres, filled: Filled, requests: Requests) -> None:
    """Replace all rows by those that the requests are about."""
    rows = _ROWS.format(run=requests.run, users=USERS, last=KEPT + requests.spare - 1)
    statements = [statement.format(rows=rows) for statement in filled.schema.fill]
    postgres.execute(filled.database, *statements, "CHECKPOINT")


def writes(postgres: Postgres, filled: Filled) -> int:
    """Return a number that each write moves by one."""
    return int(postgres.execute(filled.database, filled.schema.writes))
