"""How long a change takes to its listener: from the start of the write to the arrival of the event."""

import random
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import Contender, Service, running
from tests.benchmarks.flat import USER, Caller
from tests.benchmarks.postgres import Postgres
from tests.benchmarks.workload import token


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The time from writes to their events, in seconds."""

    written_by: str
    bound: float
    """What the longest of them may take."""
    middle: float
    longest: float


def deliveries(contender: Contender, postgres: Postgres, folder: Path, *, writes: int) -> list[Delivery]:
    """Write through the process that serves the stream, and through another one on the same database."""
    with (
        running(contender, postgres, folder) as service,
        running(contender, postgres, folder, database=service.database) as other,
    ):
        return [
            _delivery("the same process", service, service, bound=0.05, writes=writes),
            _delivery("another process", service, other, bound=1.0, writes=writes),
        ]


def _delivery(written_by: str, service: Service, writer: Service, *, bound: float, writes: int) -> Delivery:
    caller, seconds = Caller(writer), []
    with socket.create_connection(("127.0.0.1", service.port)) as stream:
        head = f"Host: localhost\r\nAuthorization: Bearer {token(USER)}\r\n\r\n"
        stream.sendall(f"GET /api/{USER}/tasks/events HTTP/1.1\r\n{head}".encode())
        _read_until(stream, b"event: ready")
        for _ in range(writes):
            time.sleep(random.random() / 2)  # so that writes are not in step with the poll
            began = time.perf_counter()
            caller.call("POST", body='{"title":"Buy milk"}')
            _read_until(stream, b"event: change")
            seconds.append(time.perf_counter() - began)
    return Delivery(written_by=written_by, bound=bound, middle=median(seconds), longest=max(seconds))


def _read_until(stream: socket.socket, event: bytes) -> None:
    received = b""
    while event not in received:
        more = stream.recv(65_536)
        if not more:
            raise RuntimeError("the stream has ended")
        received += more
