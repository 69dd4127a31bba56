"""Wakes those who follow a user's tasks: at once after a write of this process, by polling after those of others."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from application.errors import StorageUnavailable
from application.ports import TaskRepository
from application.states import NOTHING, State

POLL_SECONDS = 0.5


class _Waiter:
    """Waits until it is woken. However often it was woken meanwhile, it wakes once."""

    __slots__ = ("_woken",)

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    async def _wait(self, until: float | None) -> None:
        timer = None if until is None else asyncio.get_running_loop().call_at(until, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            if timer:
                timer.cancel()
        self._woken.clear()


class Listener(_Waiter):
    """Waits for a user's state to change."""

    __slots__ = ("_has_news", "seen")

    def __init__(self) -> None:
        super().__init__()
        self.seen: State | None = None
        """The state up to which the changes are known; any other one wakes the listener."""
        self._has_news = False

    def notice(self, state: State | None) -> None:
        """Wake, unless the state has been seen. None stands for an unknown one."""
        if state is None or state != self.seen:
            self._has_news = True
            self._woken.set()

    async def wait(self, *, until: float | None = None) -> bool:
        """Wait until another state than `seen`, newer or older, was noticed; or in vain until a time of the loop's."""
        await self._wait(until)
        has_news, self._has_news = self._has_news, False
        return has_news


class WriteListener(_Waiter):
    """Waits for writes of this process, of any user."""

    __slots__ = ("_user_ids",)

    def __init__(self) -> None:
        super().__init__()
        self._user_ids: set[str] = set()

    def notice(self, user_id: str) -> None:
        """Wake, because of a write of a user."""
        self._user_ids.add(user_id)
        self._woken.set()

    async def wait(self, *, until: float) -> set[str]:
        """Wait for a write, or until a time of the loop's. Return the users who have written since the last call."""
        await self._wait(until)
        user_ids, self._user_ids = self._user_ids, set()
        return user_ids


class ChangeSignal:
    """Tells listeners that a user's tasks have changed. For use by one event loop; its writers share it with them.

    While there are listeners, one task reads the states of all their users together, once in `poll_seconds`, so that
    they also notice what other processes write. An unavailable storage delays this until it is available.
    """

    def __init__(self, *, poll_seconds: float = POLL_SECONDS) -> None:
        """Start nothing before there is a listener."""
        self._poll_seconds = poll_seconds
        self._listeners: dict[str, set[Listener]] = {}
        self._write_listeners: set[WriteListener] = set()
        self._poller: asyncio.Task[None] | None = None
        self._polled_at = 0.0

    def publish(self, user_id: str, state: State | None) -> None:
        """Wake the user's listeners, unless they have seen this state. None stands for an unknown one."""
        for listener in self._listeners.get(user_id, ()):
            listener.notice(state)
        for write_listener in self._write_listeners:
            write_listener.notice(user_id)

    def lag(self) -> float:
        """Return how many seconds ago the last successful poll began, 0 without listeners.

        Listeners have noticed what was written before that.
        """
        return asyncio.get_running_loop().time() - self._polled_at if self._listeners else 0.0

    @contextmanager
    def listening_to_writes(self) -> Iterator[WriteListener]:
        """Listen during the block to all that is published. This polls nothing."""
        listener = WriteListener()
        self._write_listeners.add(listener)
        try:
            yield listener
        finally:
            self._write_listeners.discard(listener)

    @contextmanager
    def listening(self, user_id: str, *, tasks: TaskRepository) -> Iterator[Listener]:
        """Listen to a user's changes during the block. All listeners have the same repository, which is polled."""
        listener = Listener()
        self._listeners.setdefault(user_id, set()).add(listener)
        if self._poller is None or self._poller.done():
            self._polled_at = asyncio.get_running_loop().time()
            self._poller = asyncio.create_task(self._poll(tasks))
        try:
            yield listener
        finally:
            self._listeners[user_id].discard(listener)
            if not self._listeners[user_id]:
                del self._listeners[user_id]

    async def _poll(self, tasks: TaskRepository) -> None:
        """Read states until there is no listener."""
        while True:
            await asyncio.sleep(self._poll_seconds)
            if not self._listeners:
                return
            user_ids = [*self._listeners]
            began = asyncio.get_running_loop().time()
            try:
                states = await tasks.states(user_ids)
            except StorageUnavailable:
                continue
            except Exception:  # not to leave them waiting: the fault, if it lasts, is raised where they read
                noticed: dict[str, State | None] = dict.fromkeys(user_ids)
            else:
                noticed = {user_id: states.get(user_id, NOTHING) for user_id in user_ids}
                self._polled_at = began
            for user_id, state in noticed.items():
                self.publish(user_id, state)
