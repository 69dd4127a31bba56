"""One server for all who use its folder: the first starts it, the last stops it, and it is kept alive between."""

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
_LOOK_EVERY_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 10.0
_log = logging.getLogger("hextasks.postgres")


class EmbeddedPostgres:
    """A PostgreSQL server whose data lies in one folder, shared by all processes that use that folder.

    The first to start it creates and starts it; the last to leave stops it. A process that is killed leaves it running,
    and the next one finds it. If the server itself is killed, one of its users starts it again. Every acknowledged
    write survives each of these.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder, which is created on the first start."""
        self._folder = folder.expanduser().absolute()
        self.log = self._folder / "server.log"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Have the server running inside; yields its URL. Raises EmbeddedPostgresError.

        A server that dies inside is started again, with a line in the log `hextasks.postgres`; nothing is raised then.
        """
        server = Server(self._folder, self.log)
        with ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                # Two locks, both let go by the system when a process dies: `gate` for whoever comes or goes, `users`
                # shared by all who use the server.
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
            stack.enter_context(_kept_alive(server, socket_folder))
            yield f"postgresql://postgres@/postgres?host={quote(str(socket_folder))}"


@contextmanager
def _kept_alive(server: Server, socket_folder: Path) -> Iterator[None]:
    ending = Event()
    # A daemon, so that it does not hold up a process that ends without leaving the block.
    thread = Thread(target=_keep_alive, args=(server, socket_folder, ending), name="embedded-postgres", daemon=True)
    try:
        thread.start()
        yield
    finally:
        ending.set()
        thread.join()


def _keep_alive(server: Server, socket_folder: Path, ending: Event) -> None:
    """Start the server again whenever it has died, until told to end.

    A server that is being stopped is not taken for dead: that is done by the last user alone, after this has ended.
    Looks instead of waiting for the server's lock, because nothing could end that wait while others keep the server.
    """
    pause = _LOOK_EVERY_SECONDS
    while not ending.wait(pause):
        try:
            if not server.lives():
                _log.warning("The embedded PostgreSQL has died; it is started again.")
                server.start(socket_folder, ending)
            pause = _LOOK_EVERY_SECONDS
        except (EmbeddedPostgresError, OSError) as error:
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            _log.error("%s (tried again in %.1f seconds)", error, pause)


def _leave(server: Server, gate: IO[str], users: IO[str]) -> None:
    with _locked(gate):
        fcntl.flock(users, fcntl.LOCK_UN)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody else still uses it
        server.stop()


@contextmanager
def _locked(file: IO[str]) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _socket_folder(data: Path, stack: ExitStack) -> Path:
    """Return where a client finds the socket: the data, or a link to it where its path is long or has a comma."""
    if len(os.fsencode(data)) <= _LONGEST_SOCKET_FOLDER and "," not in str(data):
        return data
    link = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hextasks-"))) / "data"
    link.symlink_to(data)
    return link
