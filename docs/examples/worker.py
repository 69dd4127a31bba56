"""A worker that makes tasks of messages, each once, however often it is delivered.

```console
$ echo '{"id": "m-1", "user": "ada", "title": "Answer the mail"}' | python -m docs.examples.worker postgresql://…
```
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from hashlib import sha256

from hextasks import DomainError, IdempotencyKeyReused, Once, StorageUnavailable, TaskContended, Tasks, open_tasks


async def messages() -> AsyncIterator[str]:
    """Yield lines of standard input. Replace it by a consumer that is told what was processed."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield line


async def process(tasks: Tasks, message: str) -> str:
    """Make the task, again and again while the database is unavailable. The message's id is the idempotency key."""
    try:
        content = json.loads(message)
        key, user, title = content["id"], content["user"], content["title"]
    except (ValueError, KeyError, TypeError):  # it would come again and again
        return "rejected: not a message"
    while True:
        try:
            once = Once(key=key, fingerprint=sha256(message.encode()).digest())
            written = await tasks.of(user).create(title, once=once)
        except (StorageUnavailable, TaskContended):
            await asyncio.sleep(1)
        except (DomainError, IdempotencyKeyReused) as error:
            return f"rejected {key}: {error}"
        else:
            return f"{'repeated' if written.is_replayed else 'created'} {written.task.id}"


async def main(url: str) -> None:
    """Process all messages."""
    async with open_tasks(url) as tasks:
        async for message in messages():
            print(await process(tasks, message), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
