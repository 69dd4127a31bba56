"""The pytest plugin, in a project that installs hextasks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hextasks

CONFTEST = """
import sys

LOADED = {*sys.modules}  # by the plugins
"""
TESTS = """
import sys
from datetime import UTC, datetime, timedelta

import pytest
from conftest import LOADED

pytestmark = pytest.mark.asyncio


async def test_the_plugin_loads_nothing_else():
    assert {name for name in LOADED if name.partition(".")[0] == "hextasks"} == {"hextasks", "hextasks.pytest_plugin"}
    others = {"domain", "application", "adapters", "entrypoints", "httpx", "hypothesis", "litestar"}
    assert not {name.partition(".")[0] for name in LOADED} & others


async def test_use_cases(hextasks_tasks, hextasks_clock, hextasks_ids, hextasks_build, hextasks_repository):
    assert "httpx" not in sys.modules and "hypothesis" not in sys.modules
    ada = hextasks_tasks.of("ada")
    one, two, three = await hextasks_build.fill(hextasks_tasks, ["one", "two", "three"], completed=1)
    assert [task.title for task in (await ada.list()).tasks] == ["three", "two", "one"]
    assert (one.is_completed, two.is_completed) == (True, False)
    assert [task.id for task in (one, two, three)] == [hextasks_ids.nth(n) for n in (1, 2, 3)]
    assert two.created_at - one.created_at == timedelta(seconds=1)
    hextasks_clock.set(datetime(2030, 1, 1, tzinfo=UTC))
    done = (await ada.complete(two.id)).task
    assert done.completed_at == hextasks_clock.now() == datetime(2030, 1, 1, tzinfo=UTC)
    assert await hextasks_repository.get("ada", two.id) == done
    drawn = hextasks_build.task(is_completed=True)
    assert (drawn.title, drawn.is_completed, drawn.version) == (hextasks_build.draft().title, True, 0)


async def test_use_cases_are_new(hextasks_tasks, hextasks_ids):
    created = (await hextasks_tasks.of("ada").create("Buy milk")).task
    assert (created.id, created.version) == (hextasks_ids.nth(1), 1)


@pytest.mark.parametrize("turn", [1, 2])
async def test_a_client(hextasks_client, hextasks_tasks, hextasks_clock, hextasks_token, turn):
    created = await hextasks_client.post(hextasks_client.tasks, json={"title": "Buy milk"})
    assert (created.status_code, created.json()["version"]) == (201, 1)
    (task,) = (await hextasks_tasks.of("ada").list()).tasks
    assert (str(task.id), task.created_at) == (created.json()["id"], hextasks_clock.now())
    assert (await hextasks_client.of("a/b").get("/api/a%2Fb/tasks")).json()["tasks"] == []
    grace = {"Authorization": f"Bearer {hextasks_token('grace')}"}
    assert (await hextasks_client.get(hextasks_client.tasks, headers=grace)).json()["code"] == "forbidden"
    late = {"Authorization": f"Bearer {hextasks_token('ada', lifetime=timedelta(hours=-1))}"}
    assert (await hextasks_client.get(hextasks_client.tasks, headers=late)).json()["code"] == "token_expired"
"""
ADAPTER = """
import pytest
from hextasks import MemoryTaskRepository
from hextasks.testing.contract import ChangeContract, PurgeContract


class TestMine(ChangeContract, PurgeContract):
    @pytest.fixture
    def tasks(self):
        return MemoryTaskRepository()


class Forgetful(MemoryTaskRepository):
    async def purge(self, **_):
        return 0


class TestForgetful(PurgeContract):
    @pytest.fixture
    def tasks(self):
        return Forgetful()
"""
FILES = {
    "conftest.py": CONFTEST,
    "pytest.ini": "[pytest]\nasyncio_default_fixture_loop_scope = function\n",  # in pytest-asyncio's strict mode
    "test_project.py": TESTS,
    "test_adapter.py": ADAPTER,
}


@pytest.mark.slow
def test_a_project_gets_fixtures_and_an_adapters_author_the_contract(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    command = [sys.executable, "-m", "pytest", "-W", "error", "--strict-markers", "-rsf", "--tb=short"]
    off = ["-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "no:faker", "-p", "no:xdist"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "PYTEST"))}
    ran = subprocess.run([*command, *off], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    report = ran.stdout + ran.stderr
    failed = [line.partition(" - ")[0] for line in report.splitlines() if line.startswith("FAILED")]
    assert failed == [
        "FAILED test_adapter.py::TestForgetful::test_it_is_bounded_and_forgets_the_oldest_first",
        "FAILED test_adapter.py::TestForgetful::test_a_state_stays_expired_when_an_earlier_deletion_is_purged_later",
        "FAILED test_adapter.py::TestForgetful::test_an_id_can_be_used_again_once_its_deletion_is_purged",
    ], report
    assert "assert 0 == 3" in report, "assertions show their values"
    assert "1 skipped" in report, report
    assert "the adapter does not implement set_epochs" in report


def test_every_public_name_is_loaded_when_it_is_used() -> None:
    assert {name for name in hextasks.__all__ if getattr(hextasks, name) is None} == set()
    assert {*hextasks.__all__} <= {*dir(hextasks)}
    with pytest.raises(AttributeError):
        hextasks.tasks  # type: ignore[attr-defined]  # noqa: B018
