"""The offline client step by step. tests/torture/replicas.py tests all of it under kills."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import RFC_4122, UUID, uuid4

import pytest

from adapters.tokens import issue_token
from docs.examples import offline_client
from docs.examples.offline_client import Replica, uuid7
from tests.patience import until
from tests.services import SECRET, Client, Service, running_service

pytestmark = pytest.mark.service
Device = Callable[[], Replica]
PIPES: Any = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service(DATABASE_URL="memory://") as service:
        yield service


@pytest.fixture
def me(service: Service) -> Iterator[Client]:
    with service.client() as client:
        yield client


@pytest.fixture
async def device(service: Service, me: Client, tmp_path: Path) -> AsyncIterator[Device]:
    """Make replicas of one user's tasks, which are not connected until they push or pull."""
    made: list[Replica] = []

    def make() -> Replica:
        token = issue_token(SECRET, me.user)
        made.append(Replica(str(tmp_path / f"{len(made)}.db"), service.url, me.user, lambda: token))
        return made[-1]

    yield make
    for replica in made:
        await replica.close()


async def exchange(*replicas: Replica) -> None:
    for replica in replicas:
        await replica.push()
        await replica.pull()


def stored(client: Client) -> dict[str, object]:
    return {task["id"]: task for task in client.get(client.tasks).json()["tasks"]}


def rejected(file: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as db:
        return db.execute("SELECT kind, outcome FROM queue").fetchall()


async def test_changes_are_shown_at_once_and_sent_later(device: Device, me: Client) -> None:
    one = device()
    milk, bread, eggs = one.create("Buy milk"), one.create("Buy bread"), one.create("Buy eggs")
    one.edit(milk, title="Buy oat milk", is_completed=True)
    one.delete(bread)
    shown = [(task["title"], task["is_completed"]) for task in one.tasks().values()]
    assert shown == [("Buy oat milk", True), ("Buy eggs", False)]
    assert stored(me) == {}
    await exchange(one)
    assert one.tasks() == stored(me)
    assert [*one.tasks()] == [milk, eggs]
    one.edit(eggs, title="Buy six eggs")
    one.delete(eggs)
    await exchange(one)
    assert one.tasks() == stored(me)
    assert [*one.tasks()] == [milk]


async def test_edits_of_different_fields_are_both_kept_and_the_last_title(device: Device, me: Client) -> None:
    one, two = device(), device()
    key = one.create("Buy milk")
    await exchange(one, two)
    one.edit(key, title="Buy oat milk")
    two.edit(key, is_completed=True)
    two.edit(key, title="Buy soy milk")
    await exchange(one, two, one)
    assert one.tasks() == two.tasks() == stored(me)
    assert (one.tasks()[key]["title"], one.tasks()[key]["is_completed"]) == ("Buy soy milk", True)


async def test_a_deletion_elsewhere_wins_over_an_edit(device: Device, tmp_path: Path) -> None:
    one, two = device(), device()
    key = one.create("Buy milk")
    await exchange(one, two)
    one.delete(key)
    two.edit(key, title="Buy oat milk")
    await exchange(one)
    assert [*two.tasks()] == [key]
    await exchange(two)
    assert one.tasks() == two.tasks() == {}
    await two.close()
    assert rejected(tmp_path / "1.db") == [("edit", "task_not_found")]


async def test_an_edit_elsewhere_wins_over_a_deletion_that_has_not_seen_it(device: Device, tmp_path: Path) -> None:
    one, two = device(), device()
    key = one.create("Buy milk")
    await exchange(one, two)
    one.edit(key, title="Buy oat milk")
    two.edit(key, is_completed=True)
    two.delete(key)
    assert two.tasks() == {}
    await exchange(one, two, one)
    assert one.tasks() == two.tasks()
    assert (two.tasks()[key]["title"], two.tasks()[key]["is_completed"]) == ("Buy oat milk", True)
    two.delete(key)
    await exchange(two)
    assert two.tasks() == {}
    await two.close()
    assert rejected(tmp_path / "1.db") == [("delete", "version_mismatch")]


@pytest.mark.parametrize("kind", ["create", "edit", "delete"])
async def test_a_kill_before_the_answer_is_noted_repeats_nothing(
    device: Device, me: Client, tmp_path: Path, kind: str
) -> None:
    one = device()
    key = one.create("Buy milk")
    if kind != "create":
        await exchange(one)
        one.edit(key, title="Buy oat milk") if kind == "edit" else one.delete(key)
    shutil.copy(tmp_path / "0.db", tmp_path / "1.db")
    await one.push()
    restarted = device()
    await exchange(restarted)
    assert restarted.tasks() == stored(me)
    assert me.get(f"{me.tasks}/changes").json()["next"].endswith("-1" if kind == "create" else "-2")
    await restarted.close()
    assert rejected(tmp_path / "1.db") == []


async def test_it_begins_again_where_the_token_has_expired(device: Device, me: Client, tmp_path: Path) -> None:
    one = device()
    one.create("Buy milk")
    await exchange(one)
    await one.close()
    with closing(sqlite3.connect(tmp_path / "0.db")) as db, db:
        db.execute("UPDATE feed SET token = '0123456789ab-7'")
        db.execute("INSERT INTO tasks SELECT 'deleted meanwhile', 5, task FROM tasks")
    shutil.move(tmp_path / "0.db", tmp_path / "1.db")
    again = device()
    again.create("Buy bread")
    await exchange(again)
    assert again.tasks() == stored(me)
    assert [task["title"] for task in again.tasks().values()] == ["Buy milk", "Buy bread"]


async def test_it_waits_as_long_as_the_server_asks(tmp_path: Path) -> None:
    with running_service(DATABASE_URL="memory://", RATE_LIMIT_BURST="3", RATE_LIMIT_PER_SECOND="10") as service:
        answers: list[tuple[float, int]] = []
        service.access_lines.append(lambda line: answers.append((time.monotonic(), json.loads(line)["status"])))
        user = f"user-{uuid4()}"
        replica = Replica(str(tmp_path / "0.db"), service.url, user, lambda: issue_token(SECRET, user))
        for n in range(6):
            replica.create(f"task {n}")
        running = asyncio.create_task(replica.run())

        async def is_sent() -> bool:
            return [status for _, status in answers].count(201) == 6

        await until(is_sent)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await replica.close()
    refused = [(at, later) for (at, status), (later, _) in pairwise(answers) if status == 429]
    assert refused
    assert all(later - at > 0.95 for at, later in refused), answers


async def test_the_command_exchanges_changes_while_it_runs(
    device: Device, service: Service, me: Client, tmp_path: Path
) -> None:
    other = device()
    running = asyncio.create_task(other.run())
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, offline_client.__file__, service.url, me.user, tmp_path / "command.db"),
        env={"PATH": os.environ["PATH"], "TOKEN": issue_token(SECRET, me.user)},
        **PIPES,
    )
    stdin, stdout = command.stdin, command.stdout
    assert stdin
    assert stdout

    async def say(line: str) -> str:
        stdin.write(f"{line}\n".encode())
        return (await stdout.readline()).decode()

    key = (await say("+ Buy milk")).split()[0]
    assert (await say(f"x {key}")) == f"{key} x Buy milk\n"

    async def has_arrived() -> bool:
        return key in other.tasks() and other.tasks()[key]["is_completed"] is True

    await until(has_arrived)
    other.edit(key, title="Buy oat\u2028milk")

    async def is_answered() -> bool:
        return (await say("")) == f"{key} x Buy oat\u2028milk\n"

    await until(is_answered)
    stdin.close()
    assert await command.wait() == 0
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_ctrl_c_ends_the_command_while_it_waits_for_a_line(tmp_path: Path) -> None:
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, offline_client.__file__, "http://127.0.0.1:9", "ada", tmp_path / "command.db"),
        env={"PATH": os.environ["PATH"], "TOKEN": "any"},
        **PIPES,
    )
    assert command.stdin
    assert command.stdout
    command.stdin.write(b"+ Buy milk\n")
    assert await command.stdout.readline()
    command.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(command.wait(), 5) == -signal.SIGINT


def test_ids_are_uuids_of_version_7_in_the_order_of_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = [UUID(uuid7()) for _ in range(3)]
    assert ids == sorted(ids)
    assert {(each.version, each.variant) for each in ids} == {(7, RFC_4122)}
    assert before <= ids[0].int >> 80 <= time.time_ns() // 1_000_000
