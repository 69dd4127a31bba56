"""The image and compose.yaml, as the guides run them. `make test-image` runs these tests, which need Docker."""

import asyncio
import json
import re
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from uuid import UUID, uuid4

import httpx
import pytest

from adapters.tokens import issue_token
from domain import Task
from hextasks.client import ChangeEvent, TasksClient
from tests.operations.containers import BASES, IMAGE, Stack, reason_to_skip, stack
from tests.packaging.installed import uv
from tests.patience import eventually, until
from tests.test_documents import ROOT, blocks

pytestmark = [pytest.mark.service, pytest.mark.skipif(bool(reason := reason_to_skip()), reason=reason)]
DOCKER, SYSTEMD = "docs/guides/docker.md", "docs/guides/systemd.md"
WRITERS = 8
FILES = """
import os, pathlib, shutil, sys
print([name for name in ("pip", "pip3", "uv", "cc", "gcc", "c++", "make") if shutil.which(name)])
print([folder for folder in sys.path if (pathlib.Path(folder) / "pip").exists()])
modules = [*pathlib.Path(sys.prefix, "lib").rglob("*.py"), pathlib.Path(os.__file__)]
print([str(path) for path in modules if not [*path.parent.glob(f"__pycache__/{path.stem}.*.pyc")]])
print([line for line in open("/proc/self/status") if line.startswith("CapBnd:") and int(line.split()[1], 16)])
try:
    print(open("/tmp/file", "w"))
except OSError:
    print([])
"""
"""Lists of what must not be: installers, compilers, modules that are not compiled, capabilities, files to write to."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("repository")) as containers:
        printed = containers.shell(blocks(DOCKER, "shell")[0])
        assert re.search(rf"^{IMAGE} \S+ has \d+ MB$", printed, re.MULTILINE)
        assert f"hextasks listens on {containers.url}\n" in printed
        yield containers


@pytest.fixture(scope="module")
def secret(running: Stack) -> str:
    """The key that `make up` has generated, and which only the owner can read."""
    kept = running.folder / ".env"
    assert kept.stat().st_mode & 0o77 == 0
    return kept.read_text().strip().removeprefix("JWT_SECRET=")


def inside(running: Stack, *arguments: str) -> str:
    """Run a command in a container of the image as compose.yaml has it."""
    return running.run("docker", "compose", "run", "--rm", "--no-deps", "-T", *arguments)


def test_the_image_holds_what_the_service_needs_and_nothing_is_writable(running: Stack) -> None:
    assert inside(running, "--entrypoint", "python", "migrate", "-c", FILES).splitlines() == ["[]"] * 5
    [image] = json.loads(running.run("docker", "image", "inspect", IMAGE))
    labels = image["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == inside(running, "migrate", "--version").strip()
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert image["Config"]["User"] == "10001:10001"


def test_the_images_are_those_that_the_tests_look_for(running: Stack) -> None:
    used = set(running.run("docker", "compose", "config", "--images").split())
    assert used | set(re.findall(r"^ARG PYTHON_IMAGE=(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)) == {
        *BASES,
        IMAGE,
    }


@pytest.mark.usefixtures("running")
def test_a_second_start_keeps_the_secret(running: Stack, secret: str) -> None:
    running.run("make", "up")
    assert (running.folder / ".env").read_text().split() == [f"JWT_SECRET={secret}"]


def test_the_guide_for_docker(running: Stack) -> None:
    _, calls, update = blocks(DOCKER, "shell")
    created, events = running.shell(calls).split("retry:")
    assert json.loads(created)["title"] == "Buy milk"
    assert "event: ready" in events
    assert "FAIL" not in events
    before = running.run("docker", "compose", "ps", "--quiet", "service-1", "service-2").split()
    running.shell(update)
    after = running.run("docker", "compose", "ps", "--quiet", "service-1", "service-2").split()
    assert len({*before, *after}) == 4


def test_malformed_requests_take_no_replica_out_of_service(running: Stack) -> None:
    """Five a second did, when the proxy counted each as a failure of the replica."""
    is_over = Event()

    def attack() -> None:
        while not is_over.is_set():
            with socket.create_connection(("127.0.0.1", int(running.environment["PORT"])), timeout=60) as client:
                client.sendall(b"POST /api/ada/tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
                assert b" 502 " in client.recv(99)

    with ThreadPoolExecutor(4) as pool:
        attacks = [pool.submit(attack) for _ in range(4)]
        try:
            statuses = [httpx.get(f"{running.url}/health/live", timeout=60).status_code for _ in range(20)]
        finally:
            is_over.set()
    assert {*statuses} == {200}
    assert [attack.result() for attack in attacks] == [None] * 4


def test_the_guide_for_systemd(running: Stack, tmp_path: Path) -> None:
    """In a container without a service manager; `verify` has examined the unit elsewhere."""
    install, start = blocks(SYSTEMD, "shell")
    uv("build", "--quiet", "--wheel", "--out-dir", tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    without_manager = "mkdir -p /etc/systemd/system && ln -s /usr/bin/true /usr/local/bin/systemctl\n"
    script = install.replace("hextasks[http", f"/wheel/{wheel.name}[http") + without_manager + start
    checks = "/opt/hextasks/bin/hextasks --version; cat /etc/systemd/system/hextasks.service"
    mounted = ("--volume", f"{tmp_path}:/wheel:ro", "--volume", f"{running.folder}:/source:ro", "--workdir", "/source")
    command = ("bash", "-c", f"set -euo pipefail\n{script}{checks}")
    printed = running.run(
        "docker", "run", "--rm", "--network", "host", *mounted, "--entrypoint", "", BASES[0], *command
    )
    unit = (ROOT / "docs/examples/systemd/hextasks.service").read_text()
    assert printed.endswith(f"{wheel.name.split('-')[1]}\n{unit}")


@asynccontextmanager
async def followed(url: str, token: str) -> AsyncIterator[set[UUID]]:
    """Follow the events of a user, and yield the ids of tasks as they arrive."""
    seen: set[UUID] = set()

    async def follow() -> None:
        async with TasksClient(url, token=token, total_seconds=120) as client:
            async for event in client.of("ada").events():
                if isinstance(event, ChangeEvent) and isinstance(event.change, Task):
                    seen.add(event.change.id)

    following = asyncio.create_task(follow())
    try:
        yield seen
        assert not following.done()
    finally:
        following.cancel()


class Load:
    """Clients that create tasks one after the other, and never repeat a request."""

    def __init__(self, url: str, token: str) -> None:
        self.created: set[UUID] = set()
        self.failed: list[str] = []
        self._http = httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        self._is_over = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send requests until the end of the block."""
        writing = [asyncio.create_task(self._write()) for _ in range(WRITERS)]
        try:
            yield
        finally:
            self._is_over = True
            await asyncio.gather(*writing)
            await self._http.aclose()

    async def _write(self) -> None:
        while not self._is_over:
            task = uuid4()
            try:
                answer = await self._http.post("/api/ada/tasks", json={"id": str(task), "title": "Written"})
                outcome = "" if answer.status_code == 201 else f"{answer.status_code} {answer.text}"
            except httpx.RequestError as error:
                outcome = type(error).__name__
            if outcome:
                self.failed.append(outcome)
                await asyncio.sleep(0.1)
            else:
                self.created.add(task)


async def test_replicas_are_replaced_and_all_is_stopped_and_nothing_is_lost(running: Stack, secret: str) -> None:
    token = issue_token(secret, "ada")
    async with followed(running.url, token) as seen:
        load = Load(running.url, token)
        async with load.running():
            await until(lambda: asyncio.sleep(0, bool(seen & load.created)))
            for replica in ("service-1", "service-2"):
                await running.compose("stop", replica)
                await running.compose("up", "--detach", "--no-deps", "--wait", replica)
        assert load.failed == [], "while one replica is ready"
        rolled = load.created
        load = Load(running.url, token)
        async with load.running():
            await until(lambda: asyncio.sleep(0, len(load.created) > 100))
            await running.compose("stop")
        assert set(load.failed) <= {"ConnectError", "RemoteProtocolError", "ReadError"}, "without an answer"
        await running.compose("up", "--detach", "--wait", "proxy")
        await until(lambda: asyncio.sleep(0, rolled | load.created <= seen))
    async with TasksClient(running.url, token=token) as client:
        stored = {task.id async for task in client.of("ada").all()}
    assert rolled | load.created <= stored
    for replica in ("service-1", "service-2"):
        assert '"ExitCode":0' in running.run("docker", "compose", "ps", "--all", "--format", "json", replica)


def test_removed_containers_leave_the_data(running: Stack, secret: str) -> None:
    def titles() -> str:
        headers = {"Authorization": f"Bearer {issue_token(secret, 'ada')}"}
        return httpx.get(f"{running.url}/api/ada/tasks", headers=headers, timeout=60).raise_for_status().text

    before = titles()
    running.run("make", "down")
    assert running.run("docker", "compose", "ps", "--all", "--quiet") == ""
    running.run("make", "up")
    assert titles() == before


def test_every_command_ends_at_sigterm_as_the_first_process(running: Stack) -> None:
    patience = ("--env", "DATABASE_TIMEOUT=3000", "--env", "REQUEST_TIMEOUT=10000")
    running.run("docker", "compose", "pause", "database")  # so that the migration waits for it
    try:
        started = ("docker", "compose", "run", "--no-deps", "--detach", *patience, "migrate")
        container = running.run(*started).strip()
        connections = ("docker", "exec", container, "cat", "/proc/net/tcp")
        eventually(lambda: f":{5432:04X} " in running.run(*connections))
        running.run("docker", "stop", "--time", "60", container)
        status = running.run("docker", "inspect", "--format", "{{.State.ExitCode}}", container)
        assert int(status) == 128 + signal.SIGTERM, "it was killed"
    finally:
        running.run("docker", "compose", "unpause", "database")
