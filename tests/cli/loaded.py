"""Commands run by forks of one process that has loaded the service already, which takes a second of a start.

For tests that are not about the start and the end of the interpreter. `python -m tests.cli.loaded N` is that process:
it takes requests from the socket with the descriptor N.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).parents[2]
MODULES = (
    *("adapters.embedded_postgres", "adapters.memory", "adapters.postgres", "entrypoints.cli.commands"),
    *("entrypoints.cli.serve", "uvicorn.loops.uvloop", "anyio._backends._asyncio"),
)
DESCRIPTORS = 1024
NUMBER_SIZE = 20
_one_request = Lock()


class Fork:
    """A running command, used like a subprocess.Popen. Its parent reports its id, and at its end its exit status."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path, environment: Mapping[str, str], stderr: int) -> None:
        output, stdout = os.pipe()
        self._status, status = os.pipe()
        self._waiting = Lock()
        request = json.dumps([arguments, str(cwd), environment]).encode()
        with _one_request:
            socket.send_fds(_loaded(environment["PATH"]), [request], [stdout, stderr, status])
            os.close(stdout)
            os.close(status)
            self.pid = self._reported()
        self.args = arguments
        self.returncode: int | None = None
        self.stdout = os.fdopen(output)

    def poll(self) -> int | None:
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        if (status := self._wait(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def _wait(self, timeout: float | None) -> int | None:
        with self._waiting:
            if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
                self.returncode = self._reported()
            return self.returncode

    def _reported(self) -> int:
        return int(os.read(self._status, NUMBER_SIZE))

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Fork":
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.wait()
        os.close(self._status)


@cache
def _loaded(path: str) -> socket.socket:
    """Start the loaded process of this run, which ends with this one."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.loaded", str(theirs.fileno())],
            cwd=ROOT,
            env={"PATH": path},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(requests: socket.socket) -> None:
    parents = set[int]()
    while (request := socket.recv_fds(requests, 1 << 16, 3))[0]:
        parents -= {pid for pid in parents if os.waitpid(pid, os.WNOHANG)[0]}
        if pid := os.fork():
            parents.add(pid)
        else:
            _run(*json.loads(request[0]), *request[1])
        for descriptor in request[1]:
            os.close(descriptor)
    for pid in parents:
        os.waitpid(pid, 0)


def _run(arguments: list[str], cwd: str, environment: dict[str, str], stdout: int, stderr: int, status: int) -> None:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.chdir(cwd)
        os.environ.clear()
        os.environ |= environment
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.closerange(3, DESCRIPTORS)
        os._exit(_ended(arguments))
    os.write(status, b"%*d" % (NUMBER_SIZE, pid))
    os.closerange(0, status)
    os.write(status, b"%*d" % (NUMBER_SIZE, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    os._exit(0)


def _ended(arguments: list[str]) -> int:
    """Run a command to its end as the interpreter does, but for freeing all that it has loaded."""
    status = 1
    try:
        status = status_of(arguments)
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    return status


def status_of(arguments: list[str]) -> int:
    """Run a command, and return the exit status. What it exits with instead goes to standard error, with status 1."""
    from entrypoints.cli import main

    try:
        main(arguments)
    except SystemExit as ended:
        if isinstance(ended.code, int | None):
            return ended.code or 0
        sys.stderr.write(f"{ended.code}\n")
        return 1


def _load() -> None:
    """Load the modules of all commands, and what only an application loads, by making one that is not used."""
    for module in MODULES:
        import_module(module)
    from entrypoints.container import Container
    from entrypoints.http.app import create_app
    from entrypoints.settings import Settings

    create_app(Container(settings=Settings(database_url="postgresql://unused@127.0.0.1:1/x", jwt_secret="x" * 32)))


if __name__ == "__main__":
    _load()
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
