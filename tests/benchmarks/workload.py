"""The workload of every contender: its tables filled anew, and the requests of each operation.

Task n belongs to user n modulo USERS, so that consecutive requests concern different users. The tasks from
USERS * TASKS_EACH on are there to be completed or deleted once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, cycle, islice
from typing import Self
from uuid import UUID

import jwt

SECRET = "a secret of the benchmarks, long enough"
USERS, TASKS_EACH = 200, 60  # a page of 50, and a next one
KEPT = USERS * TASKS_EACH
SENT_AT_MOST = 15_000
"""How many requests a second the prepared ones last for."""


class Operation(StrEnum):
    """What is measured."""

    GET = "get"
    LIST = "list"
    CREATE = "create"
    COMPLETE = "complete"
    UPDATE = "update"
    DELETE = "delete"
    MIX = "mix"

    @property
    def writes(self) -> bool:
        """Whether each request changes exactly one task."""
        return self not in (Operation.GET, Operation.LIST, Operation.MIX)


_G, _L, _C = Operation.GET, Operation.LIST, Operation.CREATE
_U, _X, _D = Operation.UPDATE, Operation.COMPLETE, Operation.DELETE
_SPENDING = (_X, _D)
# 70 % reads.
MIX = (_G, _L, _G, _C, _G, _G, _U, _L, _G, _X, _G, _L, _G, _C, _G, _L, _U, _G, _D, _G)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """The prepared requests of one operation."""

    run: int
    """Part of the names of users, so that no contender can know them from the operation before."""
    operation: Operation
    length: int

    @classmethod
    def lasting(cls, seconds: float, *, run: int, operation: Operation) -> Self:
        """Return requests that last for a number of seconds."""
        # Updates cycle over more titles than there are tasks, so that no task gets the title that it has.
        cycles = {Operation.GET: KEPT, Operation.LIST: USERS, Operation.CREATE: KEPT, Operation.UPDATE: 2 * KEPT}
        return cls(run=run, operation=operation, length=cycles.get(operation) or int(seconds * SENT_AT_MOST))

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Return the operations in turn."""
        return MIX if self.operation == Operation.MIX else (self.operation,)

    @property
    def spare(self) -> int:
        """Return how many tasks must be there to be completed or deleted."""
        spending = sum(operation in _SPENDING for operation in self.operations)
        return -(-self.length * spending // len(self.operations))

    @property
    def may_cycle(self) -> bool:
        """Whether the requests may be sent again from the first."""
        return not self.spare

    def __iter__(self) -> Iterator[bytes]:
        """Return the requests in order, as HTTP/1.1 messages."""
        users = [user_id(self.run, number) for number in range(USERS)]
        heads = [f"Host: localhost\r\nAuthorization: Bearer {token(user)}\r\n" for user in users]
        spare = count(KEPT)
        for n, operation in enumerate(islice(cycle(self.operations), self.length)):
            task = next(spare) if operation in _SPENDING else n % KEPT
            owner = task % USERS
            yield request(operation, users[owner], heads[owner], task_id(task), n)


def request(operation: Operation, user: str, head: str, task: UUID, n: int) -> bytes:
    """Return one request; n makes its title unlike any other."""
    tasks, body = f"/api/{user}/tasks", ""
    match operation:
        case Operation.GET:
            line = f"GET {tasks}/{task}"
        case Operation.LIST:
            line = f"GET {tasks}?limit=50"
        case Operation.CREATE:
            line, body = f"POST {tasks}", f'{{"title":"Buy milk {n}"}}'
        case Operation.UPDATE:
            line, body = f"PUT {tasks}/{task}", f'{{"title":"Buy oat milk {n}"}}'
        case Operation.COMPLETE:
            line = f"PATCH {tasks}/{task}/complete"
        case _:
            line = f"DELETE {tasks}/{task}"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{line} HTTP/1.1\r\n{head}\r\n{body}".encode()


def user_id(run: int, number: int) -> str:
    """Return a user of a run."""
    return f"bench-{run}-{number}"


def task_id(number: int) -> UUID:
    """Return the id of a task."""
    return UUID(f"018f0000-0000-7000-8000-{number:012x}")


def token(user: str) -> str:
    """Return a token for a user."""
    return jwt.encode({"sub": user, "iat": 1_700_000_000, "exp": 4_000_000_000}, SECRET, "HS256")
