"""Two processes write, and a follower is killed again and again: no event is lost."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from adapters.positions import SqlitePositions
from application import TaskEvent
from hextasks import open_tasks
from tests.application import event_processes
from tests.application.consumers import Consumer, lists
from tests.application.event_processes import USERS
from tests.cli.processes import ROOT, environment
from tests.databases import Server, migrated

KILLS = 2
pytestmark = [pytest.mark.database, pytest.mark.unmeasured]


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process until the end of the block, which kills it."""
    command = [sys.executable, "-m", event_processes.__name__, *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_no_event_is_lost_over_processes_and_kills(server: Server, tmp_path: Path) -> None:
    url, file, consumer = await migrated(server), tmp_path / "positions", Consumer()

    def receive(lines: Iterator[str]) -> None:
        for line in lines:
            if line.endswith("\n"):  # otherwise the process was killed while it wrote
                consumer.note(TaskEvent.from_dict(json.loads(line)))

    with ExitStack() as writers:
        for _ in range(2):
            writers.enter_context(process("write", url))
        for _ in range(KILLS):
            with process("follow", url, str(file)) as follower:
                assert follower.stdout
                receive(line for _, line in zip(range(random.randrange(1, 300)), follower.stdout, strict=False))
                follower.kill()
                receive(follower.stdout)
    async with open_tasks(url) as tasks:
        with SqlitePositions(file) as positions:
            rest = [event async for event in tasks.follow(positions, wait=False)]
        for event in rest:
            consumer.note(event)
        assert consumer.copy == await lists(tasks.list.tasks, {*USERS})
    assert rest, "the writers wrote until the end"
    assert {event.kind for event in consumer.events.values()} >= {"created", "renamed", "completed", "deleted"}
