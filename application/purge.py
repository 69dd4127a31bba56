"""Story: forget what no client needs any more."""

from dataclasses import dataclass
from datetime import timedelta

from application.ports import Clock, TaskRepository

PURGE_BATCH = 1000
KEEP_REMOVALS = timedelta(days=30)
KEEP_KEYS = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """Forgets deletions and idempotency keys of all users, once they have been kept for long enough."""

    tasks: TaskRepository
    clock: Clock
    keep_removals: timedelta = KEEP_REMOVALS
    """A client that has not synchronized for longer has to read the whole list again."""
    keep_keys: timedelta = KEEP_KEYS
    """A request that is retried later is carried out again."""

    async def __call__(self) -> int:
        """Forget up to 1000 of each, the oldest first. Return how many; call again until there are none.

        Several processes may do so at once. Raises StorageUnavailable.
        """
        now = self.clock.now()
        return await self.tasks.purge(
            removed_before=now - self.keep_removals, keys_before=now - self.keep_keys, limit=PURGE_BATCH
        )
