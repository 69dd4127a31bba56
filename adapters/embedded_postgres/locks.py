"""Locks on files, which the system releases when a process dies. Every wait for one is bounded."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from adapters.embedded_postgres.errors import EmbeddedPostgresError
from adapters.embedded_postgres.private import user_name

LOG_AFTER_SECONDS = 1.0
"""A wait that is longer than this is logged."""
_log = logging.getLogger("hextasks.postgres")


def lock(file: IO[str], mode: int, timeout: float) -> None:
    """Take a lock, `fcntl.LOCK_SH` or `LOCK_EX`, waiting at most `timeout` seconds. A long wait is logged.

    Raises EmbeddedPostgresError, which names the processes that hold the lock.
    """
    began = time.monotonic()
    is_logged = False
    while True:
        try:
            return fcntl.flock(file, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - began
        if waited > timeout:
            raise EmbeddedPostgresError(
                f"{file.name} was still held after {timeout:.0f} seconds by {holders(file)}: "
                "end that process, or choose another folder"
            )
        if waited > LOG_AFTER_SECONDS and not is_logged:
            is_logged = True
            _log.warning(
                "Waiting up to %.0f seconds for %s to start or stop the embedded PostgreSQL: it holds %s",
                *(timeout, holders(file), file.name),
            )
        time.sleep(0.02)


def lock_alone(file: IO[str]) -> None:
    """Take the exclusive lock without waiting. Raises EmbeddedPostgresError, which names who holds one."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise EmbeddedPostgresError(f"{Path(file.name).parent} is in use by {holders(file)}: stop it first") from None


@contextmanager
def locked(file: IO[str], timeout: float) -> Iterator[None]:
    """Hold the exclusive lock until the end of the block. Waits, logs and raises as `lock` does."""
    lock(file, fcntl.LOCK_EX, timeout)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def holders(file: IO[str]) -> str:
    """Describe the processes that took the lock of a file: id, command and user, as far as the system tells them.

    Linux does so in /proc/locks. A process that has died since is named, too, if its child processes hold the lock.
    """
    inode = os.fstat(file.fileno()).st_ino
    found = []
    with suppress(FileNotFoundError):  # macOS
        for line in Path("/proc/locks").read_text().splitlines():
            _, kind, *_, pid, place, _, _ = line.split()
            if kind == "FLOCK" and place.endswith(f":{inode}"):
                found.append(_process(pid))
    return " and ".join(found) or "another process"


def _process(pid: str) -> str:
    about = Path("/proc", pid)
    try:
        command = about.joinpath("comm").read_text(errors="replace").strip()
        return f"process {pid} ({command!r} of the user {user_name(about.stat().st_uid)})"
    except OSError:
        return f"process {pid}"
