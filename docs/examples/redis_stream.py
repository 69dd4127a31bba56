"""Writes what happens to tasks to Redis, as it happens: one stream for each user, `tasks:USER`, each event once.

    python redis_stream.py postgresql://… /var/lib/redis-stream/positions redis://…

A service manager may kill it at any time, and starts it again; so it ends when Redis is unavailable. An event that
comes again has the same id, which Redis takes only once. It needs redis-py.
"""

import asyncio
import sys
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from hextasks import SqlitePositions, TaskEvent, open_tasks


async def publish(event: TaskEvent, redis: Redis) -> None:
    """Add an event to its user's stream, unless it is there. Raises RedisError."""
    stream, entry_id = f"tasks:{event.user_id}", f"{event.version}-{event.part}"
    fields: dict[Any, Any] = {name: str(value) for name, value in event.as_dict().items()}
    try:
        await redis.xadd(stream, fields, id=entry_id)
    except ResponseError:  # the id is not greater than those before it
        if await redis.xrange(stream, min=entry_id, max=entry_id) != [(entry_id, fields)]:
            raise


async def main(url: str, file: str, redis_url: str) -> None:
    """Publish events without end."""
    with SqlitePositions(file) as positions:
        async with open_tasks(url) as tasks, Redis.from_url(redis_url, decode_responses=True) as redis:
            async for event in tasks.follow(positions):
                await publish(event, redis)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
