"""Coalescing: calls that arrive while statements are under way share the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

from application import StorageUnavailable, TaskContended

MAX_CALLS = 128
"""The most calls in one statement."""


class Call:
    """An operation on one task, and the outcome that its caller waits for."""

    __slots__ = (
        "arguments",
        "deadline",
        "lane",
        "operation",
        "outcome",
        "runs_alone",
        "statement",
        "task_id",
        "user_id",
    )

    deadline: float
    lane: "_Lane"
    outcome: asyncio.Future[Any]

    def __init__(self, operation: Any, user_id: str, task_id: UUID, arguments: tuple[Any, ...]) -> None:
        """Take the arguments of the operation's own statement, in the order of its parameters."""
        self.operation = operation
        self.user_id = user_id
        self.task_id = task_id
        self.arguments = arguments
        self.runs_alone = False
        self.statement: tuple[asyncio.Task[Any], list[Call]] | None = None
        """The task that runs the call's statement, and all calls that share it, while it is under way."""


class _Lane:
    """Calls that wait for each other: at most one statement at a time carries out calls of a lane."""

    __slots__ = ("is_under_way", "user_id", "waiting")

    def __init__(self, call: Call) -> None:
        self.user_id = call.user_id
        self.is_under_way = False
        self.waiting = deque((call,))


Together = Callable[[Sequence[Call], float], Awaitable[Sequence[Any]]]
"""Carries out calls of one operation by one statement before a deadline, and returns their outcomes in order.

An outcome is a result, an exception for the caller, or None where nothing was done and the call has to run alone.
"""
Alone = Callable[[Call], Awaitable[Any]]
"""Carries out one call, and returns its result or raises an exception for the caller."""


class Coalescer:
    """Shares statements among concurrent calls.

    A call starts a statement at once, together with all that arrive in the same iteration of the event loop. While the
    most statements are under way, calls wait and share the next one, so that a statement always starts after the calls
    that it carries out. Each call has a deadline of its own; a caller that is cancelled does not disturb the others,
    and a statement is cancelled when none of its callers is left.
    """

    def __init__(
        self,
        together: Together | None,
        alone: Alone,
        *,
        timeout: float,
        is_read: bool = False,
        mixes_users: bool = True,
        most_under_way: int = 2,
    ) -> None:
        """Share statements of `together`; None lets every call run alone.

        `timeout` is in seconds, from a call's arrival. Unless `is_read`, one user's calls are carried out in the order
        of their arrival, and no task stands twice in one statement. `most_under_way` bounds shared statements only,
        because a call that runs alone may wait for a lock.
        """
        self._together = together
        self._alone = alone
        self._timeout = timeout
        self._is_read = is_read
        self._mixes_users = mixes_users
        self._most_under_way = most_under_way
        self._under_way = 0
        self._is_starting = False
        self._lanes: dict[str, _Lane] | None = None if is_read and mixes_users else {}
        self._ready: deque[_Lane] = deque()
        self._open: dict[Call, None] = {}  # the calls without an outcome, in the order of their deadlines
        self._expiry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop keeps weak references only

    async def call(self, operation: Any, user_id: str, task_id: UUID, arguments: tuple[Any, ...]) -> Any:
        """Carry out a call and return its result.

        Raises what the operation raises; when the deadline passes, TaskContended if the call still waited for earlier
        ones of its user, and StorageUnavailable otherwise.
        """
        loop = asyncio.get_running_loop()
        call = Call(operation, user_id, task_id, arguments)
        call.deadline = loop.time() + self._timeout
        call.outcome = loop.create_future()
        call.runs_alone = self._together is None
        self._open[call] = None
        if self._expiry is None:
            self._expiry = loop.call_at(call.deadline, self._expire)
        self._put(call)
        try:
            outcome = await call.outcome
        except asyncio.CancelledError:
            if call.statement and all(other.outcome.done() for other in call.statement[1]):
                call.statement[0].cancel()
            raise
        finally:
            del self._open[call]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _put(self, call: Call) -> None:
        lane = self._lanes.get(call.user_id) if self._lanes else None  # none for independent reads
        if lane is None:
            call.lane = _Lane(call)
            if self._lanes is not None:
                self._lanes[call.user_id] = call.lane
            self._line_up(call.lane)
        else:
            call.lane = lane
            lane.waiting.append(call)

    def _line_up(self, lane: _Lane) -> None:
        """Let the next calls of a lane start, or drop the lane when no caller waits in it."""
        waiting = lane.waiting
        while waiting and waiting[0].outcome.done():
            waiting.popleft()
        lane.is_under_way = bool(waiting) and waiting[0].runs_alone
        if lane.is_under_way:
            self._spawn(self._run([waiting.popleft()]))
        elif waiting:
            self._ready.append(lane)
            self._wake()
        else:
            self._drop(lane)

    def _drop(self, lane: _Lane) -> None:
        if self._lanes is not None:
            del self._lanes[lane.user_id]

    def _wake(self) -> None:
        """Start one more shared statement if there are calls and capacity for it."""
        if self._ready and not self._is_starting and self._under_way < self._most_under_way:
            self._is_starting = True
            self._under_way += 1
            self._spawn(self._share())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _share(self) -> None:
        """Run one statement for the calls that wait by now, an iteration of the event loop after its start."""
        self._is_starting = False
        try:
            if calls := self._take():
                self._wake()  # for those that are left
                await self._run(calls)
        finally:
            self._under_way -= 1
            self._wake()

    def _take(self) -> list[Call]:
        """Remove the calls of the next statement from their lanes."""
        calls: list[Call] = []
        passed: list[_Lane] = []
        while self._ready and len(calls) < MAX_CALLS and (self._mixes_users or not calls):
            lane = self._ready.popleft()
            count = len(calls)
            self._take_from(lane, calls)
            lane.is_under_way = len(calls) > count
            if not lane.is_under_way:
                if lane.waiting:
                    passed.append(lane)
                else:
                    self._drop(lane)
        self._ready.extendleft(reversed(passed))
        return calls

    def _take_from(self, lane: _Lane, calls: list[Call]) -> None:
        """Move calls from the head of a lane to those that they can share a statement with."""
        waiting = lane.waiting
        ids: set[UUID] = set()
        while waiting and len(calls) < MAX_CALLS:
            call = waiting[0]
            if not call.outcome.done():
                if call.task_id in ids or (calls and call.operation is not calls[0].operation):
                    break
                if not self._is_read:
                    ids.add(call.task_id)
                calls.append(call)
            waiting.popleft()

    async def _run(self, calls: list[Call]) -> None:
        """Carry out calls, and let those that wait for them follow."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        outcomes: Sequence[Any] = ()
        is_alone = calls[0].runs_alone or (self._is_read and len(calls) == 1)  # which takes two thirds of the time
        for call in calls:
            call.statement = task, calls
        try:
            if not is_alone:
                assert self._together is not None  # noqa: S101
                outcomes = await self._together(calls, max(call.deadline for call in calls))
            elif not calls[0].outcome.done():
                outcomes = [await self._alone(calls[0])]
        except Exception as error:
            outcomes = [error] * len(calls)
        finally:  # cancelled as well: then no caller is left
            for call in calls:
                call.statement = None
            for call, outcome in zip(calls, outcomes, strict=False):
                if outcome is None and not is_alone:
                    call.runs_alone = True
                elif not call.outcome.done():
                    call.outcome.set_result(outcome)
            for call in reversed(calls):
                if call.runs_alone and not is_alone:
                    call.lane.waiting.appendleft(call)
            for lane in dict.fromkeys(call.lane for call in calls):
                self._line_up(lane)

    def _expire(self) -> None:
        """End the calls whose deadline has passed."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._expiry = None
        for call in self._open:
            if call.deadline > now:
                self._expiry = loop.call_at(call.deadline, self._expire)
                break
            if not call.outcome.done():
                lane = call.lane
                is_behind = call.statement is None and (lane.is_under_way or lane.waiting[0] is not call)
                call.outcome.set_result(TaskContended() if is_behind else StorageUnavailable())
