"""Whether a call costs the same in a large table: one user with a tenth of all tasks, beside a user of 100 in 1,000.

Both services run at once, and each call goes to either in turn, on one connection, so that the ratio of the medians
holds on a noisy machine.
"""

import json
import random
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Protocol, Self

from tests.benchmarks.contenders import Contender, Service, running
from tests.benchmarks.postgres import Postgres
from tests.benchmarks.workload import task_id, token

USER = "flat"
SHARE = 10
"""Every tenth task is the user's."""
PAGE, OPEN_IN_SMALL = 50, 60
BOUND = 1.5

# Row n is created n milliseconds after the first. Of the user's tasks each `open_each`-th is open.
_FILL = """\
INSERT INTO tasks (user_id, id, title, created_at, updated_at, completed_at, version)
SELECT CASE WHEN n % {share} = 0 THEN '{user}' ELSE format('other-%s', n % {others}) END,
       ('018f0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       'Buy milk ' || n, moment, moment,
       CASE WHEN n % {share} <> 0 OR {is_open} THEN NULL ELSE moment END,
       1 + n / {share}
FROM generate_series(0, {last}) AS n, LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 ms') AS at (moment)"""
_COUNTERS = "INSERT INTO task_counters (user_id, value) SELECT user_id, max(version) FROM tasks GROUP BY user_id"
_INDEXES = """\
SELECT coalesce(json_object_agg(indexname, indexdef)::text, '{}') FROM pg_indexes
WHERE tablename = 'tasks' AND indexname NOT IN (SELECT conname FROM pg_constraint)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatness:
    """The same call in both tables: median seconds."""

    call: str
    small: float
    large: float
    bound: float | None = BOUND
    """The largest ratio that is acceptable; None for a call that others are compared with."""

    @property
    def ratio(self) -> float:
        """Return how many times longer the large table takes."""
        return self.large / self.small


class Caller:
    """A user's connection to a service."""

    def __init__(self, service: Service) -> None:
        """Connect."""
        self._socket = socket.create_connection(("127.0.0.1", service.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"Host: localhost\r\nAuthorization: Bearer {token(USER)}\r\n"

    def call(self, method: str, path: str = "", body: str = "") -> tuple[float, bytes]:
        """Return the seconds that a call took, and its body. Raises RuntimeError for an error status."""
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        request = f"{method} /api/{USER}/tasks{path} HTTP/1.1\r\n{self._head}{head}\r\n{body}".encode()
        began = time.perf_counter()
        self._socket.sendall(request)
        answer = self._socket.recv(262_144)
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(262_144)
        head_end = answer.index(b"\r\n\r\n") + 4
        length = re.search(rb"(?i)content-length: (\d+)", answer[:head_end])
        end = head_end + int(length[1] if length else 0)
        while len(answer) < end:
            answer += self._socket.recv(262_144)
        took = time.perf_counter() - began
        if answer[9:10] != b"2":
            raise RuntimeError(f"{method} {path}: {answer!r}")
        return took, answer[head_end:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A service on a filled table, and the places in it that calls name."""

    caller: Caller
    tasks: int
    """The number of the user's tasks."""
    open_each: int
    """Each how manyth of them is open, from the first on."""
    last_cursor: str
    recent: str
    """The token before the last changes, of which there is a page and more."""

    @classmethod
    def of(cls, service: Service, tasks: int, open_each: int) -> Self:
        """Walk the user's list to its last page."""
        caller, cursor, left = Caller(service), "", tasks
        while left > PAGE:
            limit = min(500, left - PAGE)
            _, body = caller.call("GET", f"?limit={limit}{cursor}")
            found = re.search(rb'"next_cursor": ?"([^"]+)"', body)
            if found is None:
                raise RuntimeError(f"the list ends {left - limit} tasks too early")
            cursor = f"&cursor={found[1].decode()}"
            left -= limit
        epoch, _, now = json.loads(caller.call("GET", "/changes?limit=1")[1])["next"].split("-")
        recent = f"{epoch}-{int(now) - PAGE - 1}"
        return cls(caller=caller, tasks=tasks, open_each=open_each, last_cursor=cursor, recent=recent)

    def any_task(self) -> str:
        return f"/{task_id(SHARE * random.randrange(self.tasks))}"

    def open_task(self) -> str:
        return (
            f"/{task_id(SHARE * self.open_each * random.randrange(min(OPEN_IN_SMALL, self.tasks // self.open_each)))}"
        )

    def first_page(self) -> float:
        return self.caller.call("GET", f"?limit={PAGE}")[0]

    def last_page(self) -> float:
        return self.caller.call("GET", f"?limit={PAGE}{self.last_cursor}")[0]

    def open_page(self) -> float:
        return self.caller.call("GET", f"?limit={PAGE}&completed=false")[0]

    def recent_changes(self) -> float:
        return self.caller.call("GET", f"/changes?limit={PAGE}&since={self.recent}")[0]

    def get(self) -> float:
        return self.caller.call("GET", self.any_task())[0]

    def create(self) -> float:
        return self.caller.call("POST", body='{"title":"Buy milk"}')[0]

    def complete(self) -> float:
        """Complete an open task, and reopen it when the time has been taken."""
        path = self.open_task()
        seconds, _ = self.caller.call("PATCH", f"{path}/complete")
        self.caller.call("PUT", path, '{"is_completed":false}')
        return seconds


class Measured(Protocol):
    """A user's tasks. Each call returns the seconds that it took."""

    def first_page(self) -> float: ...
    def last_page(self) -> float: ...
    def open_page(self) -> float: ...
    def get(self) -> float: ...
    def complete(self) -> float: ...
    def create(self) -> float: ...


CALLS = ("first_page", "last_page", "open_page", "get", "complete", "create")


def compared(small: Measured, large: Measured, calls: int, names: Sequence[str] = CALLS) -> list[Flatness]:
    """Compare all calls."""
    return [in_turn(name.replace("_", " "), getattr(small, name), getattr(large, name), calls) for name in names]


def in_turn(name: str, small: Callable[[], float], large: Callable[[], float], calls: int) -> Flatness:
    """Call either in turn."""
    few, many = zip(*((small(), large()) for _ in range(calls)), strict=True)
    return Flatness(call=name, small=median(few), large=median(many))


def flatness(
    contender: Contender, postgres: Postgres, folder: Path, *, rows: int, calls: int
) -> tuple[list[Flatness], float]:
    """Compare a table of some rows with one of 1,000; return that, and the seconds that loading took."""
    small_tasks, large_tasks = 100, rows // SHARE
    open_each = min(1000, large_tasks // 100)
    with running(contender, postgres, folder) as small, running(contender, postgres, folder) as large:
        _fill(postgres, small, 1000, is_open=f"n / {SHARE} < {OPEN_IN_SMALL}")
        began = time.monotonic()
        _fill(postgres, large, rows, is_open=f"n / {SHARE} % {open_each} = 0")
        loading = time.monotonic() - began
        tables = (Table.of(small, small_tasks, 1), Table.of(large, large_tasks, open_each))
        return compared(*tables, calls, ("recent_changes", *CALLS)), loading


def _fill(postgres: Postgres, service: Service, rows: int, *, is_open: str) -> None:
    """Fill the tables; the indexes that are no constraints are dropped meanwhile."""
    indexes: dict[str, str] = json.loads(postgres.execute(service.database, _INDEXES))
    fill = _FILL.format(share=SHARE, user=USER, others=max(SHARE, rows // 1000), last=rows - 1, is_open=is_open)
    postgres.execute(
        service.database,
        *(f"DROP INDEX {name}" for name in indexes),
        fill,
        _COUNTERS,
        *indexes.values(),
        "VACUUM ANALYZE tasks",
        "VACUUM ANALYZE task_counters",
        "CHECKPOINT",
    )
