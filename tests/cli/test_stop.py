"""The end of `hextasks serve`: what must not delay it, what must not cause it, and what is no failure."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cli.processes import children, end_group, environment, serving
from tests.databases import Server, migrated
from tests.patience import DEADLINE_SECONDS, eventually
from tests.services import Client
from tests.streams import following
from tests.wires import answers, free_port

pytestmark = [pytest.mark.service, pytest.mark.waits]
HEAD = b"POST /api/ada/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n"
HALVES = {
    "head": HEAD[:40],
    "body": HEAD + b'{"title": "half',
    "body behind a request": b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" + HEAD + b'{"title": "half',
}


def test_neither_halves_of_requests_nor_streams_delay_a_stop(tmp_path: Path) -> None:
    with serving(tmp_path, DATABASE_URL="memory://") as served, ExitStack() as stack:

        def connected() -> socket.socket:
            address = ("127.0.0.1", int(served.port))
            return stack.enter_context(socket.create_connection(address, timeout=DEADLINE_SECONDS))

        operations = [{"op": "create", "title": "\U0001f600" * 500}] * 100
        for _ in range(30):  # six megabytes, more than the system keeps
            httpx.post(
                f"{served.address}/api/ada/tasks/batch",
                headers=served.headers,
                json={"operations": operations},
                verify=False,
            )
        path = "/api/ada/tasks/events?since="
        authorization = served.headers["Authorization"]
        streams = {}
        for kind, since in (("unread", "000000000000-0"), ("read", served.sync_token())):
            streams[kind] = stream = connected()
            stream.sendall(f"GET {path}{since} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n".encode())
        received = b""
        while b"event: ready" not in received:
            received += streams["read"].recv(4096)
        halves = {kind: connected() for kind in HALVES}
        for kind, connection in halves.items():
            connection.sendall(HALVES[kind])
        time.sleep(1)  # until all that may be kept is kept
        began = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - began < 5  # on a busy machine; a second on a calm one
        assert (received + rest(streams["read"])).endswith(b"data: {}\n\n\r\n0\r\n\r\n"), "the stream is complete"
        for kind, connection in halves.items():
            answers = rest(connection)
            assert answers.count(b" 503 ") == answers.count(b'"shutting_down"') == ("body" in kind)


def test_requests_and_streams_go_on_for_the_delay_of_a_stop(tmp_path: Path) -> None:
    with serving(tmp_path, DATABASE_URL="memory://", SHUTDOWN_DELAY="600") as served:
        token = served.headers["Authorization"].removeprefix("Bearer ")
        with Client(served.address, "ada", token) as ada, following(ada) as stream:
            assert next(stream).name == "ready"
            for _ in range(2):  # systemd signals a worker, and its parent passes the signal on
                served.process.send_signal(signal.SIGTERM)
                eventually(lambda: ada.get("/health/ready").status_code == 503)
                added = served.add("Buy milk")
                assert (added.status_code, added.headers["Connection"]) == (201, "close")
                assert next(stream).data["task"] == added.json()
            assert served.stop(signal.SIGINT) == 0
            assert next(stream, None) is None, "the stream is complete"


def rest(connection: socket.socket) -> bytes:
    """Return what arrives until the connection is closed."""
    received = b""
    while more := connection.recv(65_536):
        received += more
    return received


@contextmanager
def shell(command: str, cwd: Path, **settings: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run a shell command in which `$SERVE` serves; yields the process and the service's address."""
    port = str(free_port())
    settings |= {"SERVE": f"{sys.executable} -m hextasks serve", "PORT": port}
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=cwd,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: answers(f"{address}/health/live"))
        yield process, address
    finally:
        end_group(process)
        process.communicate()


@pytest.mark.database
@pytest.mark.parametrize("processes", ["1", "2"])
async def test_nohup_survives_the_end_of_the_terminal(tmp_path: Path, server: Server, processes: str) -> None:
    settings = {"DATABASE_URL": await migrated(server), "WEB_CONCURRENCY": processes}
    with shell("exec nohup $SERVE", tmp_path, **settings) as (process, address):
        before = children(process.pid)
        os.killpg(process.pid, signal.SIGHUP)
        await asyncio.sleep(1.5)  # longer than a stop or a restart of the workers takes to begin
        assert process.poll() is None
        assert children(process.pid) == before
        assert answers(f"{address}/health/live")
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0


@pytest.mark.database
async def test_without_it_several_processes_end_with_their_terminal_as_one_does(tmp_path: Path, server: Server) -> None:
    with serving(tmp_path, DATABASE_URL=await migrated(server), WEB_CONCURRENCY="2") as served:
        os.killpg(served.process.pid, signal.SIGHUP)
        assert served.process.wait(DEADLINE_SECONDS) == 0


@pytest.mark.database
@pytest.mark.parametrize(("reader", "processes"), [("head -1", "2"), ("true", "1")])
async def test_a_stop_is_a_success_where_the_reader_of_its_output_has_gone(
    tmp_path: Path, server: Server, reader: str, processes: str
) -> None:
    settings = {"DATABASE_URL": await migrated(server), "WEB_CONCURRENCY": processes, "LOG_LEVEL": "DEBUG"}
    serve = "{ $SERVE & echo $! > pid; wait $!; echo $? > status; }"
    with shell(f"{serve} 2>&1 | {reader}; wait", tmp_path, **settings) as (_, address):
        assert answers(f"{address}/health/live")  # and a line in the log
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
        eventually(lambda: (tmp_path / "status").exists() and (tmp_path / "status").read_text() != "")
    assert (tmp_path / "status").read_text() == "0\n"


@pytest.mark.parametrize("command", ["openapi", "--help"])
def test_other_commands_end_quietly_where_the_reader_of_their_output_has_gone(tmp_path: Path, command: str) -> None:
    run = f"{sys.executable} -m hextasks {command} | true; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["bash", "-c", run], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True, timeout=60
    )
    assert (ended.stdout, ended.stderr) == ("0\n", "")
