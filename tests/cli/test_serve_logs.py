"""The log of a whole service: complete when it is read, and never in the way of requests when it is not."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.cli.processes import Served, serving
from tests.databases import Server, migrated
from tests.patience import DEADLINE_SECONDS, eventually

pytestmark = pytest.mark.service

PIPELINED = 16
LONG = "x" * 250


@contextmanager
def served(folder: Path, **settings: str) -> Iterator[tuple[Served, "Reader"]]:
    """Serve with a pipe for standard error; yield a reader of its other end, which has not begun to read."""
    reading, writing = os.pipe()
    reader = Reader(reading)
    try:
        with serving(folder, writing, **settings) as served:
            os.close(writing)
            yield served, reader
    finally:
        os.close(reading)


class Reader:
    """Reads the log from a pipe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._thread = Thread(target=self._read)
        self.lines: list[dict[str, Any]] = []

    def _read(self) -> None:
        with open(self._pipe, "rb", closefd=False) as stream:
            self.lines.extend(json.loads(line) for line in stream)

    def start(self) -> None:
        self._thread.start()

    def all(self) -> list[dict[str, Any]]:
        """Return all lines, once the service has ended."""
        self._thread.join(DEADLINE_SECONDS)
        return self.lines

    def requests(self) -> int:
        return sum(line["logger"] == "hextasks.request" for line in self.lines)

    def dropped(self) -> int:
        return sum(line["count"] for line in self.lines if line["message"] == "log_lines_dropped")


def ask(served: Served, count: int) -> None:
    """Send so many requests, several at once, and check that all are answered."""
    request = f"GET /{LONG} HTTP/1.1\r\nHost: x\r\nX-Request-ID: {LONG[:128]}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", int(served.port)), timeout=DEADLINE_SECONDS) as connection:
        for _ in range(count // PIPELINED):
            connection.sendall(request * PIPELINED)
            received = b""
            while received.count(b"HTTP/1.1 404 ") < PIPELINED or not received.endswith(b"}"):
                more = connection.recv(1 << 20)
                assert more, "the connection was closed"
                received += more


def test_a_reader_that_stalls_holds_up_neither_requests_nor_the_end(tmp_path: Path) -> None:
    with served(tmp_path, DATABASE_URL="memory://") as (service, reader):
        ask(service, 1600)
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 5
        reader.start()
        assert 0 < len(reader.all()) < 1600


def test_dropped_lines_are_counted_when_the_reader_is_back_and_none_is_lost_at_the_end(tmp_path: Path) -> None:
    sent, last = 8000, 20 * PIPELINED
    with served(tmp_path, DATABASE_URL="memory://") as (service, reader):
        ask(service, sent)
        reader.start()
        eventually(lambda: reader.dropped() > 0)
        ask(service, last)
        assert service.stop() == 0
        lines = reader.all()
        assert reader.dropped() + reader.requests() == sent + last
        assert all(line["logger"] == "hextasks.request" for line in lines[-last:])


@pytest.mark.database
async def test_no_line_of_several_processes_is_lost_at_the_end(tmp_path: Path, server: Server) -> None:
    settings = {"DATABASE_URL": await migrated(server), "WEB_CONCURRENCY": "2"}
    with served(tmp_path, **settings) as (service, reader):
        reader.start()
        for _ in range(20):
            ask(service, PIPELINED)
        assert service.stop() == 0
        reader.all()
        assert reader.requests() == 20 * PIPELINED


def test_above_info_requests_are_not_logged(tmp_path: Path) -> None:
    with served(tmp_path, DATABASE_URL="memory://", LOG_LEVEL="WARNING") as (service, reader):
        ask(service, PIPELINED)
        assert service.stop() == 0
        reader.start()
        assert reader.all() == []
