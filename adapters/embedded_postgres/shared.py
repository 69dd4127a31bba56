"""One server for all processes that use its folder: the first starts it, the last stops it, and any restarts it."""

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import IO
from urllib.parse import quote

from adapters.embedded_postgres.server import EmbeddedPostgresError, Server

# A Unix socket's address has 104 bytes on macOS, 108 on Linux, for the folder and "/.s.PGSQL.5432".
_LONGEST_SOCKET_FOLDER = 85
_CHECK_EVERY_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 10.0
_log = logging.getLogger("hextasks.postgres")


class EmbeddedPostgres:
    """A PostgreSQL server whose data lies in one folder, shared by all processes that use that folder.

    The first process starts it, creating the data if there is none; the last one stops it. A process that is killed
    leaves the server running, and the next process uses it. A server that is killed is restarted by one of the
    processes that use it. Acknowledged writes survive all of this.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is created on the first start. The attribute `log` is the path of the server's log."""
        self._folder = folder.expanduser().absolute()
        self.log = self._folder / "server.log"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Keep the server running until the end of the block; yields its URL. Raises EmbeddedPostgresError.

        A server that dies during the block is restarted, which `hextasks.postgres` logs; nothing is raised.
        """
        server = Server(self._folder, self.log)
        with ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                # The system releases both locks when a process dies. `gate` is held while a process starts or stops to
                # use the server; `users` is shared by all that use it.
                gate = stack.enter_context((self._folder / "gate.lock").open("a"))
                users = stack.enter_context((self._folder / "users.lock").open("a"))
                with _locked(gate):
                    fcntl.flock(users, fcntl.LOCK_SH)
                    stack.callback(_leave, server, gate, users)
                    socket_folder = _socket_folder(server.data, stack)
                    server.create()
                    server.start(socket_folder)
            except OSError as error:
                raise EmbeddedPostgresError(f"{error.strerror}: {error.filename or self._folder}") from error
            stack.enter_context(_supervised(server, socket_folder))
            yield f"postgresql://postgres@/postgres?host={quote(str(socket_folder))}"


@contextmanager
def _supervised(server: Server, socket_folder: Path) -> Iterator[None]:
    stopping = Event()
    # A daemon, so that it does not delay the end of a process that exits without leaving the block.
    thread = Thread(target=_supervise, args=(server, socket_folder, stopping), name="embedded-postgres", daemon=True)
    try:
        thread.start()
        yield
    finally:
        stopping.set()
        thread.join()


def _supervise(server: Server, socket_folder: Path, stopping: Event) -> None:
    """Restart the server whenever it has died, until `stopping` is set.

    A server that is being stopped is not restarted: the last process stops it, after its supervision has ended.
    Polls instead of waiting for the server's lock, because that wait cannot be interrupted while the server runs.
    """
    pause = _CHECK_EVERY_SECONDS
    while not stopping.wait(pause):
        try:
            if not server.is_alive():
                _log.warning("The embedded PostgreSQL has died; restarting it.")
                server.start(socket_folder, stopping)
            pause = _CHECK_EVERY_SECONDS
        except (EmbeddedPostgresError, OSError) as error:
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            _log.error("%s (next try in %.1f seconds)", error, pause)


def _leave(server: Server, gate: IO[str], users: IO[str]) -> None:
    with _locked(gate):
        fcntl.flock(users, fcntl.LOCK_UN)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another process still uses the server
        server.stop()


@contextmanager
def _locked(file: IO[str]) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _socket_folder(data: Path, stack: ExitStack) -> Path:
    """Return a path to the socket for clients: the data, or a link to it where the path is too long or has a comma."""
    if len(os.fsencode(data)) <= _LONGEST_SOCKET_FOLDER and "," not in str(data):
        return data
    link = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hextasks-"))) / "data"
    link.symlink_to(data)
    return link
