"""`hextasks serve` on its embedded PostgreSQL: needs no settings, and loses no acknowledged write."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from threading import Event
from urllib.parse import quote

import httpx
import pytest

from tests.cli.processes import (
    Served,
    a_title,
    command,
    end_group,
    ended,
    environment,
    forked,
    serving,
    started,
)
from tests.embedded_servers import end_servers, is_running, with_cluster
from tests.patience import eventually

pytestmark = [pytest.mark.database, pytest.mark.waits]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with_cluster(tmp_path / ".data" / "postgres", is_migrated=True)
    yield tmp_path
    end_servers(tmp_path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home")
    yield home
    end_servers(home)


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    """One service for the tests that leave it running. It starts in an empty folder with nothing set but its port."""
    with serving(home) as served:
        yield served


def run_curl(line: str) -> dict[str, object]:
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment(), check=True)
    answer: dict[str, object] = json.loads(ran.stdout)
    return answer


def test_it_prints_its_address_and_a_command_to_try(served: Served) -> None:
    assert served.lines[0].startswith(f"hextasks {version('hextasks')} listens on http://127.0.0.1:")
    assert served.line("mode") == "development, 1 worker"
    assert served.line("database") == "embedded PostgreSQL in .data/postgres"
    assert served.line("docs") == f"{served.address}/docs"
    assert served.line("page").startswith(f"{served.address}/#token=")
    page = httpx.get(f"{served.address}/docs", verify=False)
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert httpx.get(f"{served.address}/health/ready", verify=False).status_code == 200
    answer = run_curl(served.curl)
    assert (answer["title"], answer["user_id"], answer["is_completed"]) == ("Buy milk", "ada", False)
    assert "Buy milk" in served.titles()


@pytest.mark.parametrize(
    ("settings", "number"),
    [
        ({"HOST": "::1"}, signal.SIGINT),
        ({"HOST": "localhost", "JWT_USER_CLAIM": "email", "JWT_ISSUER": "me", "JWT_AUDIENCE": "tasks"}, signal.SIGHUP),
    ],
    ids=["::1, Ctrl-C", "localhost, the terminal closes"],
)
def test_the_curl_line_works_with_any_settings(tmp_path: Path, settings: dict[str, str], number: int) -> None:
    with serving(tmp_path, DATABASE_URL="memory://", **settings) as served:
        assert served.line("database").startswith("memory")
        assert run_curl(served.curl)["title"] == "Buy milk"
        with httpx.Client(verify=False) as client:
            assert served.add("second", client).status_code == 201
            assert served.titles() == ["second", "Buy milk"]
            assert served.stop(number) == 0  # an idle connection does not delay the stop
    assert [path.name for path in (tmp_path / ".data").iterdir()] == ["jwt_secret"]


@pytest.mark.parametrize("user", ["grace", "auth0|ünï/çödé o'brien"])
def test_a_token_from_the_command_is_accepted(served: Served, home: Path, user: str) -> None:
    made = command("token", user, cwd=home)
    assert (made.returncode, made.stderr) == (0, "")
    header = {"Authorization": f"Bearer {made.stdout.strip()}"}
    answer = httpx.get(f"{served.address}/api/{quote(user, safe='')}/tasks", headers=header, verify=False)
    assert (answer.status_code, answer.json()) == (200, {"tasks": [], "next_cursor": None})


def test_doctor_and_migrate_succeed_beside_it_and_leave_it_running(served: Served, home: Path) -> None:
    found = forked("doctor", cwd=home)
    assert (found.returncode, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ok"] * 5
    for line, words in zip(lines, ["settings", "token key", "database", "privileges", "migrations"], strict=True):
        assert words in line
    migrated = forked("migrate", cwd=home)
    assert (migrated.returncode, migrated.stderr) == (0, "")
    assert "already" in migrated.stdout
    assert served.add(title := a_title()).status_code == 201
    assert title in served.titles()


def test_only_the_owner_may_enter_the_data_folder_and_read_the_secret(served: Served, home: Path) -> None:
    assert (home / ".data").stat().st_mode & 0o777 == 0o700
    assert (home / ".data" / "jwt_secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("processes", ["1", "2"])
def test_every_acknowledged_task_survives_a_kill(folder: Path, processes: str) -> None:
    """Killed during concurrent requests, then started again in the same folder on the same port."""
    settings = {"WEB_CONCURRENCY": processes}
    acknowledged: list[str] = []
    enough, over = Event(), Event()

    def add_until_killed(served: Served) -> None:
        with httpx.Client(verify=False) as client, suppress(httpx.TransportError):
            while not over.is_set() and served.add(title := a_title(), client).status_code == 201:
                acknowledged.append(title)
                if len(acknowledged) >= 100:
                    enough.set()

    with serving(folder, **settings) as served, ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(add_until_killed, served)
        try:
            assert enough.wait(20)
            assert served.stop(signal.SIGKILL) == -signal.SIGKILL
            eventually(lambda: is_free(served.port))
        finally:
            over.set()
    with serving(folder, **settings, PORT=served.port) as served:
        found = served.titles()
        assert len(found) == len(set(found))
        assert set(acknowledged) <= set(found)
        assert len(found) <= len(acknowledged) + 8
        assert served.add("after").status_code == 201
        assert served.stop() == 0
    assert not is_running(folder / ".data" / "postgres")


def is_free(port: str) -> bool:
    try:
        socket.create_server(("127.0.0.1", int(port))).close()
    except OSError:
        return False
    return True


def test_two_services_on_two_folders_are_independent(served: Served, folder: Path) -> None:
    title = a_title()
    with serving(folder, DATA_DIR="elsewhere") as other:
        assert other.add(title).status_code == 201
        assert other.titles() == [title]
        assert title not in served.titles()
        assert httpx.get(f"{other.address}/api/ada/tasks", headers=served.headers, verify=False).status_code == 401
    assert not is_running(folder / "elsewhere" / "postgres")
    assert served.add(title).status_code == 201


def test_two_services_on_one_folder_share_a_database_that_the_last_one_stops(folder: Path) -> None:
    with serving(folder) as first, ExitStack() as later:
        second = later.enter_context(serving(folder))
        assert first.add("to the first").status_code == 201
        assert second.add("to the second").status_code == 201
        assert first.titles() == second.titles() == ["to the second", "to the first"]
        assert first.stop() == 0
        assert is_running(folder / ".data" / "postgres")
        assert second.add("alone").status_code == 201
        assert second.titles()[0] == "alone"
        assert httpx.get(f"{second.address}/api/ada/tasks", headers=first.headers, verify=False).status_code == 200
        later.close()
        assert not is_running(folder / ".data" / "postgres")


@pytest.mark.parametrize(("number", "statuses"), [(signal.SIGTERM, {0, -15, 143}), (signal.SIGINT, {0, -2, 130})])
def test_a_stop_while_it_starts_leaves_nothing_running(folder: Path, number: int, statuses: set[int]) -> None:
    process = started("serve", cwd=folder, PORT="0")
    try:
        eventually(lambda: is_running(folder / ".data" / "postgres") or process.poll() is not None)
        process.send_signal(number)
        result = ended(process)
    finally:
        end_group(process)
    assert result.returncode in statuses
    assert "Traceback" not in result.stderr
    assert not is_running(folder / ".data" / "postgres")
