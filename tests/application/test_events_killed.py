"""Two processes write, and a follower is killed again and again: no event is lost."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from threading import Timer

import pytest

from adapters.positions import SqlitePositions
from application import TaskEvent
from tests.application import event_processes
from tests.application.consumers import Consumer, lists
from tests.application.event_processes import USERS, opened
from tests.cli.processes import ROOT, environment
from tests.databases import Server, migrated, patient
from tests.patience import SERVER_DEADLINE_SECONDS
from tests.sql import END_OTHERS, fetch

KILLS, EVENTS = 2, 100
pytestmark = [pytest.mark.database, pytest.mark.unmeasured]


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process until the end of the block, which kills it, or for a minute."""
    command = [sys.executable, "-m", event_processes.__name__, *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        limit = Timer(SERVER_DEADLINE_SECONDS, process.kill)
        limit.start()
        try:
            yield process
        finally:
            limit.cancel()
            process.kill()


async def _end_sessions(url: str) -> None:
    """End the sessions of killed processes, whose last writes PostgreSQL may still carry out."""
    database = patient(url)
    await fetch(database, END_OTHERS)
    await database.close()


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
                receive(islice(follower.stdout, random.randrange(EVENTS, 2 * EVENTS)))
                follower.kill()
                receive(follower.stdout)
    await _end_sessions(url)
    async with opened(url) as tasks:
        with SqlitePositions(file) as positions:
            async for event in tasks.follow(positions, wait=False):
                consumer.note(event)
        assert consumer.copy == await lists(tasks.list.tasks, {*USERS})
    assert len(consumer.events) >= KILLS * (EVENTS - 1)
