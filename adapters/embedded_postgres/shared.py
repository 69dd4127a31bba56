"""One server for all processes that use its folder: the first starts it, the last stops it, and any restarts it."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import IO
from urllib.parse import quote

from adapters.embedded_postgres.errors import EmbeddedPostgresError
from adapters.embedded_postgres.locks import lock, lock_alone, locked
from adapters.embedded_postgres.private import make_private, open_private
from adapters.embedded_postgres.server import START_TIMEOUT_SECONDS, STOP_TIMEOUT_SECONDS, Server
from adapters.embedded_postgres.socket_folder import keep, remove_link, socket_folder

GATE_TIMEOUT_SECONDS = 2.0 * START_TIMEOUT_SECONDS
"""How long a process waits for others that start or stop: creating the data, and starting the server."""
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

    @property
    def has_data(self) -> bool:
        """Whether there is a database in the folder."""
        return (self._folder / "data").exists()

    @contextmanager
    def running(self, *, alone: bool = False) -> Iterator[str]:
        """Keep the server running until the end of the block; yields its URL. Raises EmbeddedPostgresError.

        A server that dies during the block is restarted, which `hextasks.postgres` logs; nothing is raised. With
        `alone`, no other process may use the folder: it raises at once if one does, and those that start meanwhile
        wait for its end, for 2 minutes.
        """
        server = Server(self._folder, self.log)
        with ExitStack() as stack:
            try:
                make_private(self._folder)
                # The system releases both locks when a process dies. `gate` is held while a process starts or stops to
                # use the server; `users` is shared by all that use it.
                gate = stack.enter_context(open_private(self._folder / "gate.lock"))
                users = stack.enter_context(open_private(self._folder / "users.lock"))
                with locked(gate, GATE_TIMEOUT_SECONDS):
                    if alone:
                        lock_alone(users)
                    else:
                        lock(users, fcntl.LOCK_SH, GATE_TIMEOUT_SECONDS)
                    stack.callback(_leave, server, gate, users)
                    server.create()
                    clients_folder = socket_folder(server.data)
                    server.start(clients_folder)
            except OSError as error:
                raise EmbeddedPostgresError(f"{error.strerror}: {error.filename or self._folder}") from error
            stack.enter_context(_supervised(server, clients_folder))
            yield f"postgresql://postgres@/postgres?host={quote(str(clients_folder))}"


@contextmanager
def _supervised(server: Server, clients_folder: Path) -> Iterator[None]:
    stopping = Event()
    # A daemon, so that it does not delay the end of a process that exits without leaving the block.
    thread = Thread(target=_supervise, args=(server, clients_folder, stopping), name="embedded-postgres", daemon=True)
    try:
        thread.start()
        yield
    finally:
        stopping.set()
        thread.join()


def _supervise(server: Server, clients_folder: Path, stopping: Event) -> None:
    """Restart the server whenever it has died, and keep the clients' path to it, until `stopping` is set.

    A server that is being stopped is not restarted: the last process stops it, after its supervision has ended.
    Polls instead of waiting for the server's lock, because that wait cannot be interrupted while the server runs.
    """
    pause = _CHECK_EVERY_SECONDS
    while not stopping.wait(pause):
        try:
            keep(clients_folder, server.data)
            if not server.is_alive():
                _log.warning("The embedded PostgreSQL has died; restarting it.")
                server.start(clients_folder, stopping)
            pause = _CHECK_EVERY_SECONDS
        except (EmbeddedPostgresError, OSError) as error:
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            _log.error("%s (next try in %.1f seconds)", error, pause)


def _leave(server: Server, gate: IO[str], users: IO[str]) -> None:
    """Stop the server if no other process uses it."""
    fcntl.flock(users, fcntl.LOCK_UN)  # before the wait: if that fails, the next process to leave stops the server
    try:
        with locked(gate, STOP_TIMEOUT_SECONDS):
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another process still uses the server
            try:
                server.stop()
                remove_link(server.data)
            finally:
                fcntl.flock(users, fcntl.LOCK_UN)
    except EmbeddedPostgresError as error:
        _log.error("The embedded PostgreSQL may keep running: %s", error)
