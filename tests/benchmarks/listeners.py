"""Event streams beside normal load: the memory of each, and what they do to the latency of requests.

One process serves the mix of operations, first without listeners and then with one for each of many users, among them
all those whose tasks the load reads and writes; so every write is an event, too.
"""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from entrypoints.http.server.descriptors import raise_descriptor_limit
from tests.benchmarks.contenders import Contender, Service, running
from tests.benchmarks.load import run_wrk, write_requests
from tests.benchmarks.postgres import Postgres
from tests.benchmarks.seeding import fill
from tests.benchmarks.workload import Operation, Requests, token, user_id

CLIENTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """What a process did with a number of listeners."""

    listeners: int
    requests_per_second: float
    p99_milliseconds: float
    events_per_second: float
    kilobytes_each: float
    """What the process grew by when they connected, for each."""
    failed: int
    """Requests rejected or without an answer, and streams that ended."""


@dataclass(slots=True)
class _Received:
    """What the listeners have received, counted in a thread."""

    selector: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)
    events: int = 0
    ended: int = 0
    is_over: bool = False

    def read(self) -> None:
        while not self.is_over:
            for key, _ in self.selector.select(timeout=0.1):
                assert isinstance(key.fileobj, socket.socket)
                received = key.fileobj.recv(65_536)
                self.events += received.count(b"event: change")
                if not received:
                    self.ended += 1
                    self.selector.unregister(key.fileobj)


def beside_load(
    contender: Contender, postgres: Postgres, folder: Path, *, listeners: int, rounds: int, seconds: float
) -> list[Listeners]:
    """Measure each round without listeners, and then with so many."""
    raise_descriptor_limit()
    runs = count(1)
    with running(contender, postgres, folder, MAX_STREAMS=str(listeners)) as service:
        _measured(service, postgres, folder, run=next(runs), listeners=0, seconds=seconds)  # warms up
        return [
            _measured(service, postgres, folder, run=next(runs), listeners=number, seconds=seconds)
            for number in (0, listeners) * rounds
        ]


def _measured(
    service: Service, postgres: Postgres, folder: Path, *, run: int, listeners: int, seconds: float
) -> Listeners:
    requests = Requests.lasting(2 * seconds, run=run, operation=Operation.MIX)
    fill(postgres, service, requests)
    file = write_requests(folder / "requests", requests)
    before = service.memory_bytes()
    with _listening(service.port, run, listeners) as received:
        grown = service.memory_bytes() - before
        load = run_wrk(service.port, file, clients=CLIENTS, seconds=seconds, cycle=False)
        events, ended = received.events, received.ended
    if load.is_exhausted:
        raise RuntimeError("faster than the prepared requests last: raise SENT_AT_MOST")
    return Listeners(
        listeners=listeners,
        requests_per_second=(load.completed - load.rejected) / load.seconds,
        p99_milliseconds=load.p99 * 1000,
        events_per_second=events / load.seconds,
        kilobytes_each=grown / listeners / 1000 if listeners else float("nan"),
        failed=load.rejected + load.broken + ended,
    )


@contextmanager
def _listening(port: int, run: int, listeners: int) -> Iterator[_Received]:
    """Open a stream for each of so many users, and read all of them until the end of the block."""
    received = _Received()
    reader = threading.Thread(target=received.read)
    with ExitStack() as stack:
        for number in range(listeners):
            user = user_id(run, number)
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            head = f"Host: localhost\r\nAuthorization: Bearer {token(user)}\r\n\r\n"
            connection.sendall(f"GET /api/{user}/tasks/events HTTP/1.1\r\n{head}".encode())
            answer = b""
            while b"event: ready" not in answer:
                more = connection.recv(65_536)
                if not more or (len(answer) > 12 and not answer.startswith(b"HTTP/1.1 200")):
                    raise RuntimeError(f"no stream: {answer.decode()}")
                answer += more
            received.selector.register(connection, selectors.EVENT_READ)
        reader.start()
        try:
            yield received
        finally:
            received.is_over = True
            reader.join()
            received.selector.close()
