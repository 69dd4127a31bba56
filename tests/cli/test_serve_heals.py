"""`hextasks serve` whose embedded PostgreSQL is killed: it keeps running, and recovers without a restart."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import httpx
import pytest

from tests.cli.processes import Served, a_title, serving
from tests.embedded_servers import (
    end_servers,
    eventually,
    is_alive,
    kill_server,
    kill_server_for_good,
    starts,
    with_cluster,
)
from tests.patience import REQUEST_TIMEOUT_SECONDS

pytestmark = [pytest.mark.database, pytest.mark.waits]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with_cluster(tmp_path / ".data" / "postgres", is_migrated=True)
    yield tmp_path
    end_servers(tmp_path)


@pytest.fixture
def database(home: Path) -> Path:
    return home / ".data" / "postgres"


def adds(served: Served, title: str) -> bool:
    return served.add(title).status_code == 201


def live(served: Served, client: httpx.Client) -> int:
    return client.get(f"{served.address}/health/live", timeout=REQUEST_TIMEOUT_SECONDS).status_code


def test_every_acknowledged_task_is_stored_once(home: Path, database: Path) -> None:
    acknowledged: list[str] = []
    sent: list[str] = []
    statuses: set[int] = set()
    live_statuses: set[int] = set()
    over = Event()

    def add(served: Served) -> None:
        with httpx.Client(verify=False) as client:
            while not over.is_set():
                sent.append(title := a_title())
                status = served.add(title, client).status_code
                statuses.add(status)
                if status == 201:
                    acknowledged.append(title)
                else:
                    over.wait(0.05)

    def watch(served: Served) -> None:
        with httpx.Client(verify=False) as client:
            while not over.wait(0.01):
                live_statuses.add(live(served, client))

    def wait_for_a_hundred_more() -> None:
        enough = len(acknowledged) + 100
        eventually(lambda: len(acknowledged) >= enough)

    with serving(home, WEB_CONCURRENCY="2") as served:
        with ThreadPoolExecutor(9) as pool:
            clients = [pool.submit(work, served) for work in [add] * 8 + [watch]]
            try:
                wait_for_a_hundred_more()
                for _ in range(2):
                    kill_server(database)
                    wait_for_a_hundred_more()
                assert not any(client.done() for client in clients)
            finally:
                over.set()
            for client in clients:
                client.result()
        found = served.titles()
    assert live_statuses == {200}
    assert statuses <= {201, 503}
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found) <= set(sent)
    assert starts(database) == 3
    assert not is_alive(database)


def test_one_of_two_services_restarts_it_for_both(home: Path, database: Path) -> None:
    with serving(home) as first, serving(home) as second:
        services = (first, second)
        assert all(adds(served, "before") for served in services)
        kill_server(database)
        eventually(lambda: starts(database) == 2)
        for served in services:
            eventually(partial(adds, served, "after"))
        assert first.titles() == second.titles()
        assert set(first.titles()) == {"before", "after"}
    assert starts(database) == 2
    assert not is_alive(database)


def test_a_stop_during_the_restart_leaves_nothing_running(home: Path, database: Path) -> None:
    with serving(home) as served, httpx.Client(verify=False) as client:
        assert adds(served, "before")
        kill_server_for_good(database)
        assert served.add("refused").status_code == 503
        assert live(served, client) == 200
        assert served.stop() == 0
    assert not is_alive(database)
