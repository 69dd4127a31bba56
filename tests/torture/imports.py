"""kill -9 during an import, which is repeated: in the end the list is that of the file."""

import asyncio
import random
from pathlib import Path

from entrypoints.cli.export_format import End, Header, encoded
from hextasks.testing.contract.calls import NOW
from hextasks.testing.contract.moving import some_tasks
from tests.cli.processes import end_group, started
from tests.patience import until
from tests.torture.postgres import OwnPostgres
from tests.torture.report import Finding, none_of


async def imports(folder: Path, postgres: OwnPostgres, *, rounds: int, count: int) -> list[Finding]:
    """Kill an import once in each round, as soon as it has added tasks or later, and compare an export in the end."""
    tasks = sorted(some_tasks(count), key=lambda task: (task.created_at, task.id), reverse=True)
    lines = [*map(encoded, tasks), encoded(End(tasks=count))]
    (folder / "tasks").write_bytes(encoded(Header(user_id="ada", exported_at=NOW)) + b"".join(lines))
    settings = {"DATABASE_URL": postgres.url(database := await postgres.new_database())}
    before, at = 0, []
    async with postgres.admin(database) as admin:

        async def has_grown() -> bool:
            return int(await admin.fetchval("SELECT count(*) FROM tasks")) > before

        for _ in range(rounds):
            process = started("import", "ada", "tasks", cwd=folder, **settings)
            with process:
                await until(has_grown)
                await asyncio.sleep(random.uniform(0, 0.5))
                end_group(process)
            before = int(await admin.fetchval("SELECT count(*) FROM tasks"))
            at.append(before)
            if before == count:
                break
    exported = ""
    for name in ("import", "export"):
        with started(name, "ada", *["tasks"] * (name == "import"), cwd=folder, **settings) as process:
            exported, _ = await asyncio.to_thread(process.communicate)
    found = exported.encode().splitlines(keepends=True)[1:]
    wrong = sorted({*found} ^ {*lines})
    if found != lines and not wrong:
        wrong.append(b"another order, or a task twice")
    done = f"{len(at)} times kill -9 of an import of {count:,} tasks, with {', '.join(f'{n:,}' for n in at)} added"
    return [none_of("imports", done, "tasks lost, doubled or different", wrong)]
