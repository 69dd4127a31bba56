"""The command as an operator runs it: in a process and a folder of its own, with the given settings and no others."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from typing import IO
from uuid import uuid4

import httpx

from tests.cli.loaded import Fork, status_of
from tests.patience import DEADLINE_SECONDS, GENEROUS, REQUEST_TIMEOUT_SECONDS, SERVER_DEADLINE_SECONDS

ROOT = Path(__file__).parents[2]
COVERAGE = "COVERAGE_PROCESS_CONFIG"
_MEASURED = {name: value for name, value in os.environ.items() if name == COVERAGE}
"""The setting by which a process measures its coverage, if the tests are measured."""


def environment(**settings: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "TMPDIR")}
    return kept | {"PYTHONPATH": str(ROOT)} | GENEROUS | settings


def started(*arguments: str, cwd: Path, limit: str = "", **settings: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, so that what it leaves running can be ended."""
    return _started(arguments, cwd, _MEASURED | settings, subprocess.PIPE, limit)


def _started(
    arguments: tuple[str, ...], cwd: Path, settings: dict[str, str], log: int | IO[str], limit: str = ""
) -> subprocess.Popen[str]:
    """Start a command; `limit` are arguments of `ulimit`."""
    limited = ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh"] if limit else []
    return subprocess.Popen(
        [*limited, sys.executable, "-m", "hextasks", *arguments],
        cwd=cwd,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    with process:
        try:
            stdout, stderr = process.communicate(timeout=DEADLINE_SECONDS)
        finally:
            end_group(process)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def hextasks(*arguments: str, cwd: Path, limit: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `limit` are arguments of `ulimit`."""
    return ended(started(*arguments, cwd=cwd, limit=limit, **settings))


def command(*arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in a thread of this process, which has loaded its modules already."""
    with ThreadPoolExecutor(1) as thread:  # where this one's event loop does not run
        return thread.submit(_command, [*arguments], cwd, settings).result()


def _command(arguments: list[str], cwd: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    output, errors, outside = StringIO(), StringIO(), dict(os.environ)
    os.environ.clear()
    os.environ |= environment(**settings)
    try:
        with chdir(cwd), redirect_stdout(output), redirect_stderr(errors):
            status = status_of(arguments)
    finally:
        os.environ.clear()
        os.environ |= outside
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def forked(*arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command that prints little to its end, as a fork of a loaded process, unmeasured."""
    with (
        tempfile.TemporaryFile("w+") as log,
        Fork(arguments, cwd, environment(**settings), log.fileno()) as process,
    ):
        try:
            status = process.wait(SERVER_DEADLINE_SECONDS)
        finally:
            end_group(process)
        log.seek(0)
        return subprocess.CompletedProcess(arguments, status, process.stdout.read(), log.read())


def forked_each(*arguments: str, runs: list[tuple[Path, dict[str, str]]]) -> list[subprocess.CompletedProcess[str]]:
    """Run a command to its end in each of several folders with settings, all at once."""
    with ThreadPoolExecutor(len(runs)) as threads:
        return list(threads.map(lambda run: forked(*arguments, cwd=run[0], **run[1]), runs))


def end_group(process: subprocess.Popen[str] | Fork) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = (map(int, line.split()) for line in listed.splitlines())
    return [pid for pid, ppid in pairs if ppid == parent]


def resident_bytes(pid: int) -> int:
    """Return the memory of a process. Needs /proc."""
    return int(Path("/proc", str(pid), "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def said(result: subprocess.CompletedProcess[str]) -> str:
    """Return the line on standard error for the operator: the only one beside the JSON of the log."""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, result.stderr
    return lines[0]


@dataclass(frozen=True, slots=True)
class Served:
    """A `serve` command that has printed its address."""

    process: subprocess.Popen[str] | Fork
    lines: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        found = re.search(r"http://\S+:\d+", self.lines[0])
        assert found, self.lines
        return found[0]

    @property
    def port(self) -> str:
        return self.address.rpartition(":")[2]

    def line(self, name: str) -> str:
        """Return what stands after a name, such as `docs`."""
        (found,) = [line.split(maxsplit=1)[1] for line in self.lines[1:] if line.split()[0] == name]
        return found

    @property
    def curl(self) -> str:
        return self.line("try")

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.curl.partition('Bearer ')[2].partition(chr(39))[0]}"}

    def add(self, title: str, client: httpx.Client | None = None) -> httpx.Response:
        post = client.post if client else partial(httpx.post, verify=False)
        return post(
            f"{self.address}/api/ada/tasks",
            headers=self.headers,
            json={"title": title},
            timeout=REQUEST_TIMEOUT_SECONDS,
        )

    def titles(self) -> list[str]:
        """Return the titles of all of ada's tasks, newest first, page by page."""
        titles: list[str] = []
        url = "/api/ada/tasks?limit=100"
        while True:
            page = (
                httpx.get(self.address + url, headers=self.headers, timeout=REQUEST_TIMEOUT_SECONDS, verify=False)
                .raise_for_status()
                .json()
            )
            titles += [task["title"] for task in page["tasks"]]
            if page["next_cursor"] is None:
                return titles
            url = f"/api/ada/tasks?limit=100&cursor={page['next_cursor']}"

    def sync_token(self) -> str:
        """Return the token of the state after all of ada's changes."""
        url, token = f"{self.address}/api/ada/tasks/changes", "000000000000-0"
        while True:
            page = (
                httpx.get(url, params={"since": token, "limit": 500}, headers=self.headers, verify=False)
                .raise_for_status()
                .json()
            )
            token = str(page["next"])
            if not page["has_more"]:
                return token

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)


@contextmanager
def serving(
    cwd: Path, stderr: int | None = None, limit: str = "", /, *options: str, **settings: str
) -> Iterator[Served]:
    """Serve on a free port until the end of the block, unless it was stopped before. `options` are the command's.

    The log goes to the descriptor `stderr`, or is shown if the service fails. `limit` are arguments of `ulimit`.
    With none of these, the process is a fork of a loaded one.
    """
    is_fork = not (stderr or limit or options)
    settings = {"PORT": "0", **settings}
    with (
        tempfile.TemporaryFile("w+") as log,  # not a pipe, which fills up when it is not read
        Fork(("serve",), cwd, environment(**settings), log.fileno())
        if is_fork
        else _started(("serve", *options), cwd, settings, stderr or log, limit) as process,
    ):
        served = Served(process)
        assert process.stdout
        try:
            for line in process.stdout:
                served.lines.append(line.rstrip("\n"))
                if line.split()[0] == ("docs" if settings.get("ENVIRONMENT") == "production" else "try"):
                    break
            else:
                log.seek(0)
                raise AssertionError(log.read())
            yield served
            if process.poll() is None and served.stop() != 0:
                log.seek(0)
                raise AssertionError(f"exit status {process.returncode}: {log.read()[-5000:]}")
        finally:
            end_group(process)


def a_title() -> str:
    return f"task {uuid4()}"
