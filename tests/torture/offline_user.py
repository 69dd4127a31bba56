"""A hasty user of the offline client: `python -m tests.torture.offline_user FILE URL USER TOKEN`."""

import asyncio
import random
import sys
from uuid import uuid4

from docs.examples.offline_client import Replica

LONGEST_PAUSE_SECONDS = 0.2


async def main(path: str, url: str, user: str, token: str) -> None:
    replica = Replica(path, url, user, lambda: token)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(replica.run())
        tasks.create_task(use(replica))


async def use(replica: Replica) -> None:
    """Change a random task, over and over. No two tasks ever have the same title."""
    while True:
        await asyncio.sleep(random.uniform(0.0, LONGEST_PAUSE_SECONDS))
        tasks = [*replica.tasks()]
        kind = random.choices(("create", "rename", "complete", "reopen", "delete"), (4, 4, 2, 1, 2))[0]
        if kind == "create" or not tasks:
            replica.create(f"created {uuid4()}")
        elif kind == "delete":
            replica.delete(random.choice(tasks))
        elif kind == "rename":
            replica.edit(random.choice(tasks), title=f"renamed {uuid4()}")
        else:
            replica.edit(random.choice(tasks), is_completed=kind == "complete")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
