"""The examples for applications of one's own, each run as its docstring says."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from tests.cli.processes import command
from tests.databases import Server, migrated
from tests.embedded_servers import with_cluster
from tests.patience import DEADLINE_SECONDS, eventually
from tests.wires import answers, free_port

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".clients"
"""An environment with FastAPI, where it is installed; see tests/http/test_clients.py."""
BUY_MILK = {"title": "Buy milk"}


@contextmanager
def serving(*command: str, **settings: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a server on a free port, as the last argument of a command."""
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings}
    with subprocess.Popen([*command, str(port)], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: process.poll() is not None or answers(url))
            yield url, process
        finally:
            process.kill()


def uvicorn(app: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "uvicorn", app, "--port")


@pytest.mark.service
def test_a_litestar_application_keeps_its_users_and_stops_while_events_are_followed() -> None:
    with (
        serving(*uvicorn("docs.examples.litestar_app:app"), DATABASE_URL="memory://") as (url, process),
        httpx.Client(base_url=url, headers={"X-API-Key": "key-of-ada"}, verify=False) as ada,
    ):
        assert ada.get("/me").json() == {"user": "ada"}
        for path in ("/me", "/todo/ada/tasks"):
            assert httpx.get(url + path, verify=False).status_code == 401
        created = ada.post("/todo/ada/tasks", json=BUY_MILK).json()
        assert ada.get("/todo/ada/tasks").json()["tasks"] == [created]
        assert ada.get("/todo/grace/tasks").json()["code"] == "forbidden"
        with ada.stream("GET", "/todo/ada/tasks/events", params={"since": "000000000000-0"}) as events:
            lines = events.iter_lines()
            assert any("Buy milk" in line for line in lines)
            process.send_signal(signal.SIGTERM)
            assert list(lines) == [""], "the end"
        assert process.wait(DEADLINE_SECONDS) in (0, -signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.skipif(not (CLIENTS / ".ready").exists(), reason="`make clients` has not installed FastAPI")
def test_a_fastapi_application() -> None:
    program = """
from fastapi.testclient import TestClient
from docs.examples.fastapi_app import app
with TestClient(app, headers={"X-User": "ada"}) as ada:
    task = ada.post("/todo", json={"title": " Buy milk "}).json()
    assert task["title"] == "Buy milk", task
    assert ada.get("/todo").json() == [task]
    assert ada.get("/todo", headers={"X-User": "grace"}).json() == []
    empty = ada.post("/todo", json={"title": " "})
    assert (empty.status_code, empty.json()) == (422, {"detail": "The title must not be empty."}), empty.text
"""
    python = CLIENTS / "python" / "bin" / "python"
    environment = {"PYTHONPATH": str(ROOT), "DATABASE_URL": "memory://"}
    ran = subprocess.run([python, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.database
async def test_a_worker_makes_one_task_of_a_message_that_is_delivered_twice(server: Server) -> None:
    url = await migrated(server)
    mail = {"id": "m-1", "user": "ada", "title": "Answer the mail"}
    sent: list[object] = [mail, {**mail, "title": "Another"}, mail | {"id": ""}, [], {"id": "m-2"}]
    lines = "".join(json.dumps(message) + "\n" for message in sent) + "{\n"

    def work() -> list[str]:
        command = [sys.executable, "-m", "docs.examples.worker", url]
        return subprocess.run(command, cwd=ROOT, input=lines, capture_output=True, text=True, check=True).stdout.split(
            "\n"
        )

    first, second = work(), work()
    kind, _, task_id = first[0].partition(" ")
    assert kind == "created"
    rejected = [
        "rejected m-1: Another write had the same idempotency key.",
        "rejected : The idempotency key must not be empty.",
        *["rejected: not a message"] * 3,
    ]
    assert first[1:6] == rejected
    assert second[:6] == [f"repeated {task_id}", *rejected]


class TestTheLitestarCommand:
    """`litestar` with the factory of `hextasks.litestar`."""

    COMMAND = (sys.executable, "-m", "litestar")
    APP: ClassVar = {"LITESTAR_APP": "hextasks.litestar:create_app"}

    @pytest.mark.slow
    def test_routes_and_schema_need_no_settings_and_leave_nothing_behind(self, tmp_path: Path) -> None:
        program = """
from litestar.cli.main import litestar_group
for command in ("routes", "schema openapi --output openapi.json"):
    litestar_group(command.split(), standalone_mode=False)
"""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self.APP}
        start = [sys.executable, "-c", program]  # one process, because each start takes a second
        ran = subprocess.run(start, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert "/api/{user_id:str}/tasks/events" in ran.stdout
        assert "/api/{user_id}/tasks" in json.loads((tmp_path / "openapi.json").read_text())["paths"]
        assert [file.name for file in tmp_path.iterdir()] == ["openapi.json"]

    @pytest.mark.database
    def test_run_prepares_what_is_missing(self, tmp_path: Path) -> None:
        with_cluster(tmp_path / "postgres")
        with serving(*self.COMMAND, "run", "--port", DATA_DIR=str(tmp_path), HOME=str(tmp_path), **self.APP) as (
            url,
            process,
        ):
            assert httpx.get(f"{url}/api/ada/tasks", verify=False).json()["code"] == "token_missing"
            token = command("token", "ada", cwd=tmp_path, DATA_DIR=str(tmp_path)).stdout.strip()
            created = httpx.post(
                f"{url}/api/ada/tasks", json=BUY_MILK, headers={"Authorization": f"Bearer {token}"}, verify=False
            )
            assert created.status_code == 201
            process.send_signal(signal.SIGINT)
            process.wait(DEADLINE_SECONDS)
        assert not (tmp_path / "postgres" / "data" / "postmaster.pid").exists(), "the database is still running"

    @pytest.mark.service
    def test_another_server_names_what_is_missing(self, tmp_path: Path) -> None:
        started = subprocess.run(
            [*uvicorn("hextasks.litestar:create_app")[:-1], "--factory"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )
        assert started.returncode != 0
        assert "set DATABASE_URL, and JWT_SECRET or JWT_JWKS_URL" in started.stderr
