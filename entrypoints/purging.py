"""The periodic purge by the service itself."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from application import Purge, StorageUnavailable
from application.purge import PURGE_BATCH

INTERVAL_SECONDS = 300.0
"""On average. It is random, so that processes that were started together do not purge together."""
PAUSE_SECONDS = 0.1
"""Between two batches."""
BUSY_PAUSE_SECONDS = 5.0
"""Between two batches while the service is not quiet, which a client that sends slowly can prevent."""
FULL_PAUSE_SECONDS = 0.5
"""Instead, after a full batch: the purge has to keep up with the writes, also under steady load."""

_log = logging.getLogger("hextasks.storage")


def is_low_load(in_progress: int, capacity: int) -> bool:
    """Return whether the requests in progress take at most a tenth of the capacity."""
    return in_progress <= capacity // 10


@asynccontextmanager
async def purging(
    purge: Purge, *, check: Callable[[], Awaitable[None]], is_quiet: Callable[[], bool]
) -> AsyncIterator[None]:
    """Purge every few minutes during the block: batch by batch, with longer pauses while the service is not quiet.

    `check` raises StorageUnavailable while the storage is not ready.
    """
    task = asyncio.create_task(_run(purge, check, is_quiet))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _run(purge: Purge, check: Callable[[], Awaitable[None]], is_quiet: Callable[[], bool]) -> None:
    pause = 0.0
    while True:
        await asyncio.sleep(pause or INTERVAL_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
        pause = 0.0
        try:
            await check()
            if (purged := await purge()) > 0:
                busy_pause = FULL_PAUSE_SECONDS if purged >= PURGE_BATCH else BUSY_PAUSE_SECONDS
                pause = PAUSE_SECONDS if is_quiet() else busy_pause
        except StorageUnavailable:
            continue  # readiness reports it
        except Exception:
            _log.exception("the purge failed; it is tried again")
