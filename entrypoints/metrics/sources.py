"""Numbers that are read when they are asked for, rather than counted."""

import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from application import ChangeSignal
from entrypoints.http.server.layer import ExchangeLayer
from entrypoints.log_writer import LogWriter
from entrypoints.metrics.samples import Sample, one
from entrypoints.metrics.table import (
    ACTIVE_REQUESTS,
    BUILD_INFO,
    CONNECTION_LIMIT,
    CONNECTIONS,
    CONNECTIONS_CLOSED,
    CPU_SECONDS,
    FEED_LAG,
    FILE_LIMIT,
    LOG_LINES_DROPPED,
    OPEN_FILES,
    POOL_CONNECTIONS,
    POOL_MAX,
    POOL_PENDING,
    PROCESSES,
    REQUEST_LIMIT,
    RESIDENT_MEMORY,
    SHARED_CALLS,
    SHARED_STATEMENTS,
    START_TIME,
    STREAM_LIMIT,
    STREAMS,
)

if TYPE_CHECKING:
    from adapters.postgres import PostgresStorage

_STARTED = time.time()
_POOL = "hextasks"
_PROC = Path("/proc/self")


def server_samples(layer: ExchangeLayer) -> Iterator[Sample]:
    """Yield the requests in progress, the connections and the streams."""
    admission = layer.admission
    yield one(ACTIVE_REQUESTS, admission.in_progress)
    yield one(REQUEST_LIMIT, admission.limit)
    for port, connections in layer.ports.items():
        yield one(CONNECTIONS, connections.open, port)
        yield one(CONNECTION_LIMIT, connections.limit, port)
        yield one(CONNECTIONS_CLOSED, connections.closed, port)
    yield one(STREAMS, len(admission.streams.open))
    yield one(STREAM_LIMIT, admission.streams.limit)


def feed_samples(signal: ChangeSignal) -> Iterator[Sample]:
    """Yield the lag of the feed."""
    yield one(FEED_LAG, signal.lag())


def log_samples(writer: LogWriter) -> Iterator[Sample]:
    """Yield the lines that were dropped."""
    yield one(LOG_LINES_DROPPED, writer.dropped_total)


def database_samples(storage: "PostgresStorage") -> Iterator[Sample]:
    """Yield the connections of the pool, and how calls share statements."""
    pool = storage.database.pool
    counts = pool.counts()
    yield one(POOL_CONNECTIONS, counts.in_use, _POOL, "used")
    yield one(POOL_CONNECTIONS, counts.idle, _POOL, "idle")
    yield one(POOL_PENDING, counts.waiting, _POOL)
    yield one(POOL_MAX, pool.limit, _POOL)
    for kind, coalescer in storage.tasks.calls.coalescers.items():
        yield one(SHARED_STATEMENTS, coalescer.statements, kind)
        yield one(SHARED_CALLS, coalescer.calls, kind)


def process_samples() -> Iterator[Sample]:
    """Yield what Prometheus shows of each process, as far as the system tells."""
    yield one(PROCESSES, 1)
    yield one(BUILD_INFO, 1, _version(), platform.python_version())
    yield one(START_TIME, _STARTED)
    yield one(CPU_SECONDS, time.process_time())
    yield one(FILE_LIMIT, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if sys.platform == "linux":
        pages = int((_PROC / "statm").read_text().split()[1])
        yield one(RESIDENT_MEMORY, pages * resource.getpagesize())
        # Linux 6.2 tells the number as a size. Of 20,000 connections a list takes 25 ms, and each as a Path 120 ms, in
        # which the event loop stands still: once a second where several processes publish.
        yield one(OPEN_FILES, (_PROC / "fd").stat().st_size or sum(1 for _ in os.scandir(_PROC / "fd")))


@cache
def _version() -> str:
    return version("hextasks")
