"""A user of the offline client: `python -m tests.torture.offline_user FILE URL USER TOKEN [LONGEST_PAUSE_SECONDS]`.

Prints a line when it has made its first change.
"""

import asyncio
import random
import sys
from uuid import uuid4

from docs.examples.offline_client import Replica

MANY = 200
"""From so many tasks on, none is created."""


async def main(path: str, url: str, user: str, token: str, longest_pause: str = "0.2") -> None:
    replica = Replica(path, url, user, lambda: token)
    replica.create(f"created {uuid4()}")
    print("changed", flush=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(replica.run())
        tasks.create_task(use(replica, float(longest_pause)))


async def use(replica: Replica, longest_pause: float) -> None:
    """Change a random task, over and over. No two tasks ever have the same title."""
    while True:
        await asyncio.sleep(random.uniform(0.0, longest_pause))
        tasks = [*replica.tasks()]
        kind = random.choices(("create", "rename", "complete", "reopen", "delete"), (4, 4, 2, 1, 2))[0]
        if not tasks:
            kind = "create"
        elif kind == "create" and len(tasks) >= MANY:
            kind = "delete"
        if kind == "create":
            replica.create(f"created {uuid4()}")
        elif kind == "delete":
            replica.delete(random.choice(tasks))
        elif kind == "rename":
            replica.edit(random.choice(tasks), title=f"renamed {uuid4()}")
        else:
            replica.edit(random.choice(tasks), is_completed=kind == "complete")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
