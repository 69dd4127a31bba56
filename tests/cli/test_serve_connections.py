"""`hextasks serve` and hostile connections: what they cost, and what they cannot prevent."""

import json
import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.cli.processes import Served, children, hextasks, resident_bytes, said, serving
from tests.databases import Server, migrated
from tests.expositions import checked, parsed, value
from tests.patience import DEADLINE_SECONDS, eventually
from tests.wires import answers, free_port, reset_when_closed

pytestmark = pytest.mark.service
MB = 1_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
LIVENESS = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
SCRIPT = b"GET /docs/assets/swagger.js HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """As many open files for the tests as they may have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def crowd(address: str, count: int) -> Iterator[list[socket.socket]]:
    url = urlsplit(address)
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((url.hostname, url.port), timeout=DEADLINE_SECONDS))
            for _ in range(count)
        ]


def status(address: str, path: str = "/health/live") -> int:
    return httpx.get(address + path, timeout=5, verify=False).status_code


def kernel_memory() -> int:
    """Return what the system keeps for all TCP connections, in bytes."""
    pages = re.search(r"TCP: .* mem (\d+)", Path("/proc/net/sockstat").read_text())
    assert pages
    return int(pages[1]) * resource.getpagesize()


def test_more_silent_connections_than_descriptors_do_not_prevent_liveness(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        log.open("w") as stderr,
        serving(tmp_path, stderr.fileno(), "-n 1024", DATABASE_URL="memory://") as served,
        crowd(served.address, 1100) as silent,
    ):
        ask_each(silent[-1:], LIVENESS)  # so that all of them are accepted, which takes a busy machine seconds
        began = time.monotonic()
        assert status(served.address) == 200
        assert time.monotonic() - began < 2
        assert served.add("Buy milk").status_code == 201
    lines = [line for line in map(json.loads, log.read_text().splitlines()) if line["logger"] == "hextasks.http"]
    assert [line["message"] for line in lines] == ["connection_limit_reached"]
    assert 700 < lines[0]["limit"] < 1000


def test_too_few_descriptors_prevent_the_start(tmp_path: Path) -> None:
    failed = hextasks("serve", cwd=tmp_path, DATABASE_URL="memory://", DATABASE_MAX_OVERFLOW="1000", limit="-n 1000")
    assert failed.returncode == 1
    assert "ulimit -n" in said(failed)


class TestAdmin:
    """`ADMIN_PORT`: health on an address of its own."""

    def test_it_answers_whatever_happens_to_the_public_port_and_serves_nothing_else(self, tmp_path: Path) -> None:
        port = str(free_port())
        with serving(tmp_path, None, "-n 300", DATABASE_URL="memory://", ADMIN_PORT=port) as served:
            assert served.line("health") == f"http://127.0.0.1:{port}/health/ready"
            admin = f"http://127.0.0.1:{port}"
            with crowd(served.address, 400), crowd(admin, 40):
                for path in ("/health/live", "/health/ready"):
                    assert status(admin, path) == 200
                assert status(served.address) == 200
            for path in ("/docs", "/api/ada/tasks", "/health/other", "/health/live/"):
                answer = httpx.get(f"http://127.0.0.1:{port}{path}", headers=served.headers, verify=False)
                assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found")
            assert served.add("Buy milk").status_code == 201
            assert status(served.address) == 200

    @linux
    @pytest.mark.database
    async def test_several_processes_share_it_and_each_has_raised_its_limit(
        self, tmp_path: Path, server: Server
    ) -> None:
        """Host, port and number are those of the options, which take precedence over the settings."""
        port, admin = str(free_port()), str(free_port())
        options = ("--host", "localhost", "--port", port, "--workers", "2")
        other = {"HOST": "nowhere.invalid", "PORT": "1", "WEB_CONCURRENCY": "1"}
        url = await migrated(server)
        with serving(tmp_path, None, "-Sn 200", *options, **other, ADMIN_PORT=admin, DATABASE_URL=url) as served:
            assert served.address == f"http://localhost:{port}"
            assert served.line("mode") == "development, 2 workers"
            eventually(lambda: answers(f"http://localhost:{admin}/health/live"))
            assert status(f"http://localhost:{admin}", "/health/ready") == 200
            workers = children(served.process.pid)
            assert len(workers) >= 2
            limits = [resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in (served.process.pid, *workers)]
            assert all(soft == hard for soft, hard in limits), limits
            self.check_metrics(served, f"http://localhost:{admin}/metrics")

    def check_metrics(self, served: Served, url: str) -> None:
        """Whichever process answers, it shows what all have counted; killing one makes no counter fall."""

        def has(added: int, *, at_least: int = 10) -> bool:
            time.sleep(0.1)
            found = parsed(httpx.get(url, verify=False).text)
            number = value(found, "http_server_request_duration_seconds_count", http_response_status_code="201")
            assert at_least <= number <= added
            return number == added and value(found, "hextasks_processes") == 2

        for n in range(10):
            assert served.add(f"{n}").status_code == 201
        eventually(lambda: has(10, at_least=0))
        before = children(served.process.pid)
        os.kill(before[-1], signal.SIGKILL)
        eventually(lambda: has(10) and not {*children(served.process.pid)} <= {*before})
        assert served.add("after").status_code == 201
        eventually(lambda: has(11))
        found = checked(httpx.get(url, verify=False).text)
        assert value(found, "db_client_operation_duration_seconds_count", db_query_summary="task_add_many") >= 9
        assert value(found, "db_client_connection_max") == 60
        assert value(found, "hextasks_shared_calls_total", kind="write") == 11


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that is started with a low soft limit of descriptors."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, None, "-Sn 64 && ulimit -Hn 4000", DATABASE_URL="memory://") as served:
        yield served


@linux
class TestDescriptorsAndMemory:
    def test_the_soft_limit_of_descriptors_is_raised_to_the_hard_one(self, served: Served) -> None:
        assert resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE) == (4000, 4000)

    def test_an_idle_connection_keeps_nothing_of_its_requests(self, served: Served) -> None:
        request = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 30_000 + b"\r\n\r\n"
        with crowd(served.address, 100) as warm_up:
            ask_each(warm_up, request)
        before = resident_bytes(served.process.pid)
        with crowd(served.address, 2000) as idle:
            ask_each(idle, request)
            assert (resident_bytes(served.process.pid) - before) / len(idle) < 10_000

    def test_unread_responses_keep_little_here_and_in_the_system(self, served: Served) -> None:
        assert status(served.address, "/docs/assets/swagger.js") == 200
        before, system_before = resident_bytes(served.process.pid), kernel_memory()
        with crowd(served.address, 300) as unread:
            for connection in unread:
                connection.sendall(SCRIPT * 4)
            time.sleep(1)
            assert status(served.address) == 200
            assert resident_bytes(served.process.pid) - before < 20 * MB
            assert kernel_memory() - system_before < 100 * MB
            for connection in unread:
                reset_when_closed(connection)


def ask_each(connections: list[socket.socket], request: bytes) -> None:
    for connection in connections:
        connection.sendall(request)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
