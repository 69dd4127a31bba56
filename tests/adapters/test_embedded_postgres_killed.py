"""The embedded PostgreSQL in use: a server that dies is restarted, one that is alive is left alone."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import asyncpg
import pytest

from adapters.embedded_postgres import EmbeddedPostgres
from adapters.embedded_postgres.server import Server
from adapters.postgres.dsn import connect_arguments
from tests.embedded_servers import (
    end_servers,
    eventually,
    is_alive,
    kill_server,
    kill_server_for_good,
    needs_proc,
    query,
    query_once_back,
    server_pid,
    starts,
    with_cluster,
)

pytestmark = [pytest.mark.database, pytest.mark.waits]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield with_cluster(tmp_path / "pg")
    end_servers(tmp_path)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The result of each check whether the server is alive."""
    checks: list[bool] = []
    is_alive_now = Server.is_alive

    def noted(server: Server) -> bool:
        checks.append(is_alive_now(server))
        return checks[-1]

    monkeypatch.setattr(Server, "is_alive", noted)
    return checks


def wait_for_another(folder: Path, pid: int) -> None:
    """Wait until a server with another process id is starting."""
    pid_file = folder / "data" / "postmaster.pid"
    eventually(lambda: pid_file.exists() and pid_file.read_text().split()[:1] != [str(pid)])


def wait_for_three_checks(checks: list[bool]) -> None:
    before = len(checks)
    eventually(lambda: len(checks) >= before + 3)


async def write_until_cut_off(url: str, first: int, kill: Callable[[], None]) -> list[int]:
    """Write numbers one by one, kill the server at the hundredth, and return the acknowledged ones."""
    acknowledged: list[int] = []
    connection = await asyncpg.connect(**connect_arguments(url))
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        while True:
            await connection.execute("INSERT INTO kept VALUES ($1)", first + len(acknowledged))
            acknowledged.append(first + len(acknowledged))
            if len(acknowledged) == 100:
                kill()
    connection.terminate()
    return acknowledged


def test_every_acknowledged_write_survives_repeated_kills(folder: Path) -> None:
    with EmbeddedPostgres(folder).running() as url, closing(asyncio.new_event_loop()) as loop:
        query(url, "CREATE TABLE kept (value int)")
        acknowledged: set[int] = set()
        for first in (0, 1_000_000, 2_000_000):
            written = loop.run_until_complete(write_until_cut_off(url, first, lambda: kill_server(folder)))
            assert len(written) >= 100
            acknowledged |= set(written)
            kept = query_once_back(url, "SELECT array_agg(value) FROM kept")
            assert len(kept) == len(set(kept))
            assert acknowledged <= set(kept)
    assert starts(folder) == 4
    assert not is_alive(folder)


def test_a_kill_during_the_restart_is_survived(folder: Path) -> None:
    with EmbeddedPostgres(folder).running() as url:
        for _ in range(3):
            before = server_pid(folder)
            kill_server(folder)
            wait_for_another(folder, before)
        assert query_once_back(url, "SELECT 42") == 42
    assert not is_alive(folder)


def test_one_of_many_users_restarts_it_for_all(folder: Path) -> None:
    with ExitStack() as leaving:
        urls = [leaving.enter_context(EmbeddedPostgres(folder).running()) for _ in range(5)]
        kill_server(folder)
        assert [query_once_back(url, "SELECT 42") for url in urls] == [42] * 5
        assert starts(folder) == 2
        with EmbeddedPostgres(folder).running() as url_of_the_last:
            kill_server(folder)
            leaving.close()
            assert query_once_back(url_of_the_last, "SELECT 42") == 42
    assert starts(folder) == 3
    assert not is_alive(folder)


def leave_alone(_: Path) -> None: ...


@needs_proc
@pytest.mark.parametrize(
    "disturb",
    [leave_alone, kill_server, kill_server_for_good],
    ids=["undisturbed", "killed", "restarting"],
)
def test_after_the_last_user_nothing_is_left_running_or_open(folder: Path, disturb: Callable[[Path], None]) -> None:
    threads = threading.enumerate()
    with EmbeddedPostgres(folder).running() as url:
        query(url, "CREATE TABLE kept AS SELECT 42 AS value")
        disturb(folder)
    assert not is_alive(folder)
    assert threading.enumerate() == threads
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            assert folder not in handle.readlink().parents
    (folder / "data" / "standby.signal").unlink(missing_ok=True)
    with EmbeddedPostgres(folder).running() as url:
        assert query(url, "SELECT value FROM kept") == 42


def test_a_paused_server_is_left_alone(folder: Path, checks: list[bool]) -> None:
    with EmbeddedPostgres(folder).running() as url:
        paused = server_pid(folder)
        os.kill(paused, signal.SIGSTOP)
        try:
            wait_for_three_checks(checks)
        finally:
            os.kill(paused, signal.SIGCONT)
        assert query(url, "SELECT 42") == 42
        assert server_pid(folder) == paused
    assert starts(folder) == 1


def test_a_server_in_crash_recovery_is_left_alone(folder: Path, checks: list[bool]) -> None:
    """One of its processes is killed; the server ends the others and recovers."""

    async def kill_own_backend(url: str) -> None:
        connection = await asyncpg.connect(**connect_arguments(url))
        os.kill(await connection.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
        connection.terminate()

    with EmbeddedPostgres(folder).running() as url, closing(asyncio.new_event_loop()) as loop:
        before = server_pid(folder)
        loop.run_until_complete(kill_own_backend(url))
        eventually(lambda: "reinitializing" in (folder / "server.log").read_text())
        wait_for_three_checks(checks)
        assert query_once_back(url, "SELECT 42") == 42
        assert server_pid(folder) == before
    assert starts(folder) == 1


def test_a_failed_restart_is_logged_with_its_reason_and_repeated(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    embedded = EmbeddedPostgres(folder)
    with embedded.running() as url:
        settings = folder / "data" / "postgresql.conf"
        good = settings.read_text()
        settings.write_text("nonsense = 1\n")
        kill_server(folder)

        def failures() -> list[logging.LogRecord]:
            return [record for record in caplog.records if record.levelname == "ERROR"]

        eventually(lambda: len(failures()) >= 2)
        for record in failures():
            assert record.name == "hextasks.postgres"
            assert 'unrecognized configuration parameter "nonsense"' in record.message
            assert str(embedded.log) in record.message
            assert len(record.message.splitlines()) == 1
            assert record.exc_info is None
        settings.write_text(good)
        assert query_once_back(url, "SELECT 42") == 42
