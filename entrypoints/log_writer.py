"""Writes the log without blocking the event loop when its reader stalls."""

import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

MAX_LINES, MAX_BYTES = 10_000, 4 * 1024 * 1024
GATHER_SECONDS = 0.1
"""How long the thread collects lines after the first: each time that it wakes, it interrupts the event loop."""


_JSON = msgspec.json.Encoder(enc_hook=str)


def encode_json(line: Any) -> bytes:
    """Return the fields of a line, a mapping or a struct, as one line of JSON, its line feed included."""
    return _JSON.encode(line) + b"\n"


class LogWriter:
    """A bounded buffer of lines in front of a file descriptor, which one daemon thread empties in order.

    When the buffer is full, lines are dropped and counted until it is empty again; then one line says how many.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        encode: Callable[[Any], bytes] = encode_json,
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Write to `descriptor`, holding at most so many lines and bytes.

        `encode` makes a line of its fields; all lines should be made by it.
        """
        self.encode = encode
        self._descriptor = descriptor
        self._is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self.dropped_total = 0
        """Lines that were dropped since the start."""
        self._lock = threading.RLock()  # reentrant, because a signal handler may log
        self._has_lines, self._is_urgent = threading.Event(), threading.Event()
        self._is_idle = True
        threading.Thread(target=self._run, name="log writer", daemon=True).start()

    def write(self, line: bytes) -> None:
        """Accept a line, its line feed included, or drop it. Never blocks; safe in any thread."""
        with self._lock:
            if self._dropped or len(self._lines) >= self._max_lines or self._bytes + len(line) > self._max_bytes:
                self._drop(1)
                self._has_lines.set()
                return
            self._lines.append(line)
            self._bytes += len(line)
            if len(self._lines) == 1:  # after the line, so that a signal handler that logs does not come here again
                self._has_lines.set()

    def flush(self, seconds: float = 1.0) -> None:
        """Wait until all lines are written, but no longer than so many seconds."""
        deadline = time.monotonic() + seconds
        self._is_urgent.set()
        while (self._lines or not self._is_idle) and time.monotonic() < deadline:
            time.sleep(0.002)
        self._is_urgent.clear()

    def _run(self) -> None:
        while True:
            self._has_lines.wait()
            self._is_urgent.wait(GATHER_SECONDS)
            self._has_lines.clear()
            while batch := self._take():
                if not self._write_out(b"".join(batch)):
                    with self._lock:
                        self._drop(len(batch))
            self._report_dropped()
            self._is_idle = not self._lines

    def _take(self) -> list[bytes]:
        """Take the next lines: of a pipe no more than it keeps together when several processes write to it."""
        with self._lock:
            self._is_idle = False
            if not self._is_pipe or self._bytes <= select.PIPE_BUF:
                batch = [*self._lines]
                self._lines.clear()
                self._bytes = 0
                return batch
            batch = [self._lines.popleft()]
            size = len(batch[0])
            while self._lines and size + len(self._lines[0]) <= select.PIPE_BUF:
                batch.append(self._lines.popleft())
                size += len(batch[-1])
            self._bytes -= size
        return batch

    def _drop(self, count: int) -> None:
        self._dropped += count
        self.dropped_total += count

    def _report_dropped(self) -> None:
        """Write how many lines were dropped; until then none is accepted, so that this line takes their place."""
        while (dropped := self._dropped) and self._write_out(self.encode(_dropped_line(dropped))):
            with self._lock:
                self._dropped -= dropped

    def _write_out(self, data: bytes) -> bool:
        """Write, and return whether that succeeded."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # another process has made the shared descriptor non-blocking
                select.select([], [self._descriptor], [])
            except OSError:  # the reader has closed it
                return False
        return True


def _dropped_line(count: int) -> dict[str, Any]:
    return {
        "time": datetime.now(UTC),
        "level": "WARNING",
        "logger": "hextasks.log",
        "message": "log_lines_dropped",
        "count": count,
    }
