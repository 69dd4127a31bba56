"""`hextasks export | import | forget`, on real lists, killed in the middle, and while a service runs."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.postgres import Database
from entrypoints.cli.export_format import End, Header, encoded
from hextasks.testing.contract.calls import NOW
from hextasks.testing.contract.moving import some_tasks
from tests.cli.processes import ROOT, command, end_group, environment, said, started
from tests.databases import Server, migrated, patient
from tests.http.wire import FIRST_TOKEN
from tests.patience import until
from tests.services import running_service
from tests.sql import fetch
from tests.streams import following

pytestmark = pytest.mark.database

TASKS = sorted(some_tasks(1300), key=lambda task: (task.created_at, task.id), reverse=True)
LINES = [encoded(Header(user_id="ada", exported_at=NOW)), *map(encoded, TASKS), encoded(End(tasks=len(TASKS)))]
TABLES = ("tasks", "task_counters", "task_tombstones", "idempotency_keys")
LIST = """
    SELECT id, title, created_at, updated_at, completed_at FROM tasks WHERE user_id = $1
    ORDER BY created_at DESC, id DESC
"""
GUIDE = (ROOT / "docs/guides/data.md").read_text()
KEPT = "SELECT " + " + ".join(f"(SELECT count(*) FROM {table} WHERE user_id = $1)" for table in TABLES)


@pytest.fixture
async def url(server: Server) -> str:
    return await migrated(server)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ada.ndjson"
    path.write_bytes(b"".join(LINES))
    return path


async def stored(database: Database, user: str = "ada") -> int:
    return int((await fetch(database, "SELECT count(*) FROM tasks WHERE user_id = $1", user))[0][0])


async def test_an_import_that_is_killed_and_repeated_equals_its_source(tmp_path: Path, url: str, file: Path) -> None:
    """Once here, and several times in `make torture`."""
    database, pipe = patient(url), tmp_path / "pipe"
    os.mkfifo(pipe)
    process = started("import", "ada", str(pipe), cwd=tmp_path, DATABASE_URL=url)
    with process, await asyncio.to_thread(pipe.open, "wb", 0) as source:
        await asyncio.to_thread(source.write, b"".join(LINES[:1200]))

        async def has_begun() -> bool:
            return await stored(database) > 0

        await until(has_begun)
        end_group(process)
    done = await stored(database)
    assert 0 < done < len(TASKS)
    repeated = command("import", "ada", str(file), cwd=tmp_path, DATABASE_URL=url)
    shown = re.fullmatch(r"tasks of ada: (\d+) added, 0 replaced, (\d+) unchanged, 0 kept .*\n", repeated.stdout)
    assert (repeated.returncode, repeated.stderr, shown is not None) == (0, "", True)
    added, unchanged = map(int, shown.groups() if shown else "")
    assert (added + unchanged, unchanged >= done) == (len(TASKS), True)  # one batch may end after the process
    rows = [(task.id, task.title, task.created_at, task.updated_at, task.completed_at) for task in TASKS]
    assert [tuple(row) for row in await fetch(database, LIST, "ada")] == rows
    await database.close()


async def test_a_list_moves_as_the_guide_says(tmp_path: Path, server: Server, url: str) -> None:
    here, there = patient(url), patient(new := await migrated(server))
    (tmp_path / "few").write_bytes(b"".join([*LINES[:4], encoded(End(tasks=3))]))
    assert command("import", "ada", "few", cwd=tmp_path, DATABASE_URL=url).returncode == 0
    before, highest = await fetch(here, LIST, "ada"), await fetch(here, "SELECT value FROM task_counters")
    path = f"{Path(sys.executable).parent}:{os.defpath}"
    outside = environment(DATABASE_URL=url, NEW_DATABASE_URL=new, PATH=path)
    commands, shown = ("".join(re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL)) for kind in ("shell", "text"))
    bash = ["bash", "-euo", "pipefail", "-c", commands]
    await asyncio.sleep(1)  # imported lists begin with the number of the second
    printed = await asyncio.to_thread(subprocess.check_output, bash, cwd=tmp_path, env=outside, text=True)
    assert printed == shown
    assert (tmp_path / "ada.ndjson").read_bytes().splitlines(keepends=True)[1:4] == LINES[1:4]
    assert (await fetch(here, KEPT, "ada"))[0][0] == 0
    assert await fetch(there, LIST, "ada") == before
    assert (await fetch(there, "SELECT min(version) FROM tasks"))[0] > highest[0]
    await here.close()
    await there.close()


def test_what_was_not_imported_is_reported(tmp_path: Path, url: str) -> None:
    def run(*arguments: str, lines: list[bytes]) -> tuple[int, str, str]:
        (tmp_path / "file").write_bytes(b"".join(lines))
        done = command("import", "ada", *arguments, "file", cwd=tmp_path, DATABASE_URL=url)
        return done.returncode, done.stdout, done.stderr

    bad = [*LINES[:700], LINES[700].replace(b'"title":"T', b'"title":" T'), *LINES[701:]]
    status, out, error = run(lines=bad)
    assert (status, out.split(",")[0]) == (1, "tasks of ada: 699 added")
    assert error.startswith("hextasks: line 701: The title must have no white space at its ends. What is before")
    status, out, error = run(lines=[LINES[0], b'{"\\u001b]0;title\\u0007\\u009b2J":1}\n'])
    assert error == (
        "hextasks: line 2: Object contains unknown field `\\x1b]0;title\\x07\\x9b2J`. What is before it was imported.\n"
    ), "as no terminal understands it"
    status, out, error = run(lines=LINES[:-1])
    assert (status, out.split(",")[0]) == (1, "tasks of ada: 601 added")
    assert "line 1302 is missing" in error

    changed = [LINES[0], *[line.replace(b'"title":"T', b'"title":"t') for line in LINES[1:31]], encoded(End(tasks=30))]
    status, out, error = run(lines=changed)
    assert (status, "30 kept as they are" in out) == (1, True)
    ids = ", ".join(str(task.id) for task in TASKS[:20])
    assert error.endswith(f"30 tasks kept; the file has other values, and --replace was not given: {ids}, …\n")
    status, out, error = run("--replace", lines=changed)
    assert (status, "30 replaced, 0 unchanged" in out, error) == (0, True, "")


async def test_a_forgotten_user_has_nothing_and_clients_begin_again(tmp_path: Path, url: str, file: Path) -> None:
    database = patient(url)
    with running_service(DATABASE_URL=url) as service, service.client("ada") as ada, service.client("grace") as grace:
        keyed = {"Idempotency-Key": "k"}
        first = ada.post(ada.tasks, json={"title": "Buy milk"}, headers=keyed)
        assert ada.delete(f"{ada.tasks}/{first.json()['id']}").status_code == 204
        assert command("import", "ada", str(file), cwd=tmp_path, DATABASE_URL=url).returncode == 0
        theirs = grace.post(grace.tasks, json={"title": "Stays"})
        listed = ada.get(ada.tasks)
        token = ada.get(f"{ada.tasks}/changes", params={"limit": 500}).json()["next"]
        with following(ada) as events:
            assert next(events).name == "ready"
            forgotten = command("forget", "ada", "--yes", cwd=tmp_path, DATABASE_URL=url)
            assert (forgotten.returncode, forgotten.stdout) == (0, "deleted everything of ada: 1303 records\n")
            names = {"resync"}
            while (event := next(events)).id != FIRST_TOKEN:
                names.add(event.name)
            assert {*names, event.name} == {"resync"}
        assert (await fetch(database, KEPT, "ada"))[0][0] == 0
        assert ada.get(f"{ada.tasks}/changes", params={"since": token}).status_code == 410
        again = ada.get(ada.tasks, headers={"If-None-Match": listed.headers["etag"]})
        assert (again.status_code, again.json()["tasks"]) == (200, [])
        fresh = ada.post(ada.tasks, json={"title": "Buy milk"}, headers=keyed)
        assert (fresh.status_code, fresh.headers.get("idempotency-replayed")) == (201, None)
        assert fresh.headers["sync-token"].partition("-")[0] != first.headers["sync-token"].partition("-")[0]
        assert ada.get(f"{ada.tasks}/changes", params={"since": token}).status_code == 410
        assert grace.get(grace.tasks).json()["tasks"] == [theirs.json()]
    await database.close()


async def test_a_user_is_forgotten_after_a_confirmation(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = patient(url)
    await fetch(database, "INSERT INTO task_counters (user_id, value) VALUES ('ada', 7)")

    def forget(*options: str) -> subprocess.CompletedProcess[str]:
        return command("forget", "ada", *options, cwd=tmp_path, DATABASE_URL=url)

    refused = forget()
    assert (refused.returncode, "--yes" in said(refused)) == (1, True)
    keyboard, terminal = os.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        os.write(keyboard, b"y\n")
        refused = forget()
        assert (refused.returncode, refused.stdout) == (1, "")
        assert (await fetch(database, KEPT, "ada"))[0][0] == 1
        os.write(keyboard, b"yes\n")
        assert forget().stdout == "deleted everything of ada: 1 record\n"
    os.close(keyboard)
    assert forget("--yes").stdout == "deleted everything of ada: 0 records\n"
    await database.close()
