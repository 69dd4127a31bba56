"""Three offline clients change one list; they, the service and the database are killed; at the end all are equal."""

import asyncio
import json
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import AsyncExitStack, closing
from itertools import cycle
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from adapters.tokens import issue_token
from docs.examples.offline_client import SCHEMA, Replica
from tests.cli.processes import ROOT
from tests.patience import until
from tests.torture.client import SECRET, Json
from tests.torture.postgres import OwnPostgres
from tests.torture.report import Finding, at_most, none_of
from tests.torture.retries import COUNTER, kill_at_random, kill_before_an_answer
from tests.torture.service import Service
from tests.torture.traffic import everything

REPLICAS = 3
# A trigger notes what was answered, because it leaves the queue afterwards.
ANSWERED = """
CREATE TABLE answered (number INTEGER PRIMARY KEY, kind TEXT, id TEXT, fields TEXT, version INT, outcome TEXT);
CREATE TRIGGER answered AFTER UPDATE OF outcome ON queue BEGIN
    INSERT INTO answered VALUES (NEW.number, NEW.kind, NEW.id, NEW.fields, NEW.version, NEW.outcome);
END;
"""
OUTCOMES = {
    *(("create", "done"), ("edit", "done"), ("delete", "done")),
    *(("edit", "task_not_found"), ("delete", "task_not_found"), ("delete", "version_mismatch")),
}
COMPARED = ("id", "title", "is_completed", "version")


class Change(NamedTuple):
    """A change that a replica has accepted, with its outcome."""

    kind: str
    id: str
    fields: str
    version: int | None
    """The one that the change has led to; None for deletions."""
    outcome: str


async def replicas(folder: Path, postgres: OwnPostgres, *, seconds: float, pause: float) -> list[Finding]:
    """Let three processes change one list for `seconds`, one kill after each `pause` at most; then all are the same."""
    database = await postgres.new_database()
    service = Service(folder, postgres, database)
    user = f"user-{uuid4()}"
    files = [new_file(folder / f"{user}-{n}.db") for n in range(REPLICAS)]
    token = issue_token(SECRET, user)

    def start(file: Path) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "tests.torture.offline_user", file, service.address, user, token],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )

    kills = {"replica": 0, "service": 0, "postgres": 0}
    wrong: list[str] = []
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(service.running())
        await equal(files, service.address, user, token)
        processes = [start(file) for file in files]
        try:
            for process in processes:
                await asyncio.to_thread(wait_for_a_change, process)
            over = time.monotonic() + seconds
            for victim in cycle(kills):
                await asyncio.sleep(random.uniform(pause / 4, pause))
                if time.monotonic() > over:
                    break
                kills[victim] += 1
                if victim == "replica":
                    n = random.randrange(REPLICAS)
                    wrong += killed(processes[n])
                    processes[n] = start(files[n])
                elif victim == "service":
                    killing = random.choice((kill_at_random, kill_before_an_answer))
                    async with postgres.admin(database) as admin, killing(served, admin, user):
                        pass
                    served = await stack.enter_async_context(service.running())
                else:
                    await asyncio.to_thread(postgres.kill)
                    await asyncio.to_thread(postgres.start)
        finally:
            for process in processes:
                wrong += killed(process)
        healed = await equal(files, service.address, user, token)
        tasks = await everything(service.address, user)
        async with postgres.admin(database) as admin:
            counter = await admin.fetchval(COUNTER, user)
    accepted, faults = check(files, tasks, counter)
    done = ", ".join(f"{count} of {victim}" for victim, count in kills.items())
    done = f"{REPLICAS} replicas for {seconds:g} s, {accepted} changes; kill -9: {done}"
    return [
        none_of("replicas", done, "lost, done twice or different", wrong + faults),
        at_most("replicas", "until all replicas are equal", [healed], 30.0),
    ]


def new_file(file: Path) -> Path:
    """Create the file of a replica that also notes its answers."""
    with closing(sqlite3.connect(file)) as db:
        db.executescript(SCHEMA + ANSWERED)
    return file


def wait_for_a_change(process: "subprocess.Popen[bytes]") -> None:
    """Wait until a replica has made its first change, or has ended."""
    assert process.stdout
    process.stdout.readline()


def killed(process: "subprocess.Popen[bytes]") -> list[str]:
    """Kill a process, and return the fault if it has ended by itself."""
    status = process.poll()
    process.kill()
    process.communicate()
    return [] if status is None else [f"a replica ended with status {status}"]


async def equal(files: list[Path], address: str, user: str, token: str) -> float:
    """Run the replicas until they and the server have the same; return the seconds from the last change on.

    That change is made when all have their connections, so it is an event to two of them.
    """
    all_replicas = [Replica(str(file), address, user, lambda: token) for file in files]
    running = [asyncio.create_task(replica.run()) for replica in all_replicas]

    async def are_equal() -> bool:
        stored = {task["id"]: task for task in await everything(address, user)}
        return all(replica.tasks() == stored for replica in all_replicas)

    await until(are_equal)
    all_replicas[0].create(f"while all follow {uuid4()}")
    healed = await until(are_equal)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    for replica in all_replicas:
        await replica.close()
    return healed


def check(files: list[Path], stored: list[Json], counter: int) -> tuple[int, list[str]]:
    """Return how many changes the replicas have accepted, and the faults of what they and the server have."""
    wrong, accepted, answered = list[str](), 0, list[Change]()
    for file in files:
        with closing(sqlite3.connect(file)) as db:
            (last,) = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'queue'").fetchone()
            numbers = [number for (number,) in db.execute("SELECT number FROM answered ORDER BY number")]
            answered += map(Change._make, db.execute("SELECT kind, id, fields, version, outcome FROM answered"))
            tasks = [json.loads(task) for (task,) in db.execute("SELECT task FROM tasks ORDER BY id")]
            (left,) = db.execute("SELECT count(*) FROM queue WHERE outcome IS NULL OR outcome = 'done'").fetchone()
        accepted += last
        if numbers != [*range(1, last + 1)]:
            wrong.append(f"{last} changes accepted, {len(numbers)} answered: {file.name}")
        if tasks != sorted(stored, key=itemgetter("id")) or left:
            wrong.append(f"not equal to the server: {file.name}, {left} in the queue")
    done = [change for change in answered if change.outcome == "done"]
    deleted = [change.id for change in done if change.kind == "delete"]
    versions = {change.version for change in done if change.kind != "delete"}
    if len(versions) + len(deleted) != counter:
        wrong.append(f"{len(versions)} versions and {len(deleted)} deletions answered, {counter} done")
    for change in answered:
        deletion_is_known = change.outcome != "task_not_found" or change.id in deleted
        if (change.kind, change.outcome) not in OUTCOMES or not deletion_is_known:
            wrong.append(f"{change}")
    if repeated(done) != {task["id"]: {name: task[name] for name in COMPARED} for task in stored}:
        wrong.append("the server's tasks are not what the changes lead to")
    return accepted, wrong


def repeated(done: list[Change]) -> dict[str, Json]:
    """Return the tasks that the changes lead to, in the order of their versions; deletions are last, without one."""
    tasks: dict[str, Json] = {}
    for change in sorted(done, key=lambda change: (change.version or sys.maxsize, change.kind)):
        if change.kind == "delete":
            del tasks[change.id]
        else:
            fields = json.loads(change.fields) | {"version": change.version}
            tasks[change.id] = tasks.get(change.id, {"is_completed": False}) | fields
    return tasks
