"""Story: delete all that is kept of a user."""

from dataclasses import dataclass, field

from application.ports import TaskRepository
from application.signal import ChangeSignal
from application.states import NOTHING
from domain.rules import USER_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetUser:
    """Deletes a user's tasks, deletions, idempotency keys and counter. For operators, not for users: no actor."""

    tasks: TaskRepository
    signal: ChangeSignal = field(default_factory=ChangeSignal)

    async def __call__(self, user_id: str) -> int:
        """Delete everything, and return how many records that were; 0 if nothing was kept.

        It ends when the storage has nothing of the user. Sync tokens of the user have expired from its beginning on. A
        write of the user's during it or later begins a new list, so withdraw the user's access first. After an error
        repeat the call. Raises InvalidText for the id, StorageUnavailable, and NotImplementedError for a repository
        that cannot forget.
        """
        USER_ID.check(user_id)
        total = 0
        while count := await self.tasks.forget(user_id):
            total += count
            self.signal.publish(user_id, NOTHING)
        return total
