"""Coalescing: calls that arrive while statements are under way share the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

from adapters.postgres.call_queue import Call, CallQueue
from adapters.postgres.callers import CALLERS, callers_of
from application import StorageUnavailable, TaskContended

Together = Callable[[Sequence[Call], float], Awaitable[Sequence[Any]]]
"""Carries out calls of one operation by one statement before a deadline, and returns their outcomes in order.

An outcome is a result, an exception for the caller, or None where nothing was done and the call has to run alone.
"""
Alone = Callable[[Call], Awaitable[Any]]
"""Carries out one call, and returns its result or raises an exception for the caller."""

SLOW_SECONDS = 0.01
"""A statement that takes longer, for example on a connection that stalls, holds up no more calls."""


class Direct:
    """Carries out each call at once, in its caller's task. Has the interface of a Coalescer."""

    def __init__(self, alone: Alone, *, timeout: float) -> None:
        self._alone = alone
        self._timeout = timeout

    async def call(
        self,
        operation: Any,
        user_id: str,
        task_id: UUID,
        arguments: tuple[Any, ...],
        *,
        alone: bool = True,  # noqa: ARG002  # as all are
    ) -> Any:
        """Carry out a call and return its result. Raises what the operation raises."""
        call = Call(operation, user_id, task_id, arguments)
        call.deadline = asyncio.get_running_loop().time() + self._timeout
        return await self._alone(call)


class Coalescer:
    """Shares statements among concurrent calls.

    A call that finds no statement under way starts one at once, together with all that arrive in the same iteration of
    the event loop. Otherwise it waits for the next one, which starts when one ends. While fewer than `most_under_way`
    run, it starts earlier: for `enough` calls, or for one that arrives when the last statement is slow. A statement
    always starts after the calls that it carries out.

    Each call has a deadline of its own; a caller that is cancelled does not disturb the others, and a statement is
    cancelled when none of its callers is left.
    """

    def __init__(
        self,
        together: Together | None,
        alone: Alone,
        *,
        timeout: float,
        is_read: bool = False,
        mixes_users: bool = True,
        keeps_callers: bool = False,
        most_under_way: int = 2,
        enough: int = 1,
    ) -> None:
        """Share statements of `together`; None lets every call run alone.

        `timeout` is in seconds, from a call's arrival. Unless `is_read`, one user's calls are carried out in the order
        of their arrival, and no task stands twice in one statement. With `keeps_callers`, the task of a statement has
        the CALLERS of its calls. `most_under_way` bounds shared statements only, because a call that runs alone may
        wait for a lock. While one is under way, the next one starts only for `enough` calls: a few more in a statement
        cost less than one more statement.
        """
        self._together = together
        self._alone = alone
        self._timeout = timeout
        self._is_read = is_read
        self._most_under_way = most_under_way
        self._enough = enough
        self._mixes_users = mixes_users
        self._keeps_callers = keeps_callers
        self.statements, self.calls = 0, 0
        """How many shared statements have run, and for how many calls."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin on an event loop, without calls. Raises RuntimeError while another one has some."""
        if self._loop and self._open and not self._loop.is_closed():
            raise RuntimeError("another event loop uses this repository; make one for each loop")
        self._loop = loop
        self._time = loop.time  # to look up the running loop takes a system call before Python 3.12
        self._under_way = 0
        self._started_at = 0.0
        self._is_starting = False
        self._queue = CallQueue(is_read=self._is_read, mixes_users=self._mixes_users)
        self._open: dict[Call, None] = {}  # the calls without an outcome, in the order of their deadlines
        self._expiry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop keeps weak references only

    async def call(
        self, operation: Any, user_id: str, task_id: UUID, arguments: tuple[Any, ...], *, alone: bool = False
    ) -> Any:
        """Carry out a call and return its result; `alone` has it share no statement, but wait for its turn.

        Raises what the operation raises; when the deadline passes, TaskContended if the call still waited for earlier
        ones of its user, and StorageUnavailable otherwise.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._begin(loop)
        call = Call(operation, user_id, task_id, arguments)
        call.deadline = loop.time() + self._timeout
        call.outcome = loop.create_future()
        call.runs_alone = alone or self._together is None
        if self._keeps_callers:
            call.callers = CALLERS.get()
        self._open[call] = None
        if self._expiry is None:
            self._expiry = loop.call_at(call.deadline, self._expire)
        self._start(self._queue.put(call))
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

    def _start(self, alone: Call | None = None) -> None:
        """Start a call that has to run alone, and a shared statement if there are calls and capacity for one."""
        if alone is not None:
            self._spawn(self._run([alone]))
        if self._is_starting or not self._queue or self._under_way >= self._most_under_way:
            return
        now = self._time()
        if not self._under_way or len(self._queue) >= self._enough or now >= self._started_at + SLOW_SECONDS:
            self._started_at = now
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
        if calls := self._queue.take():
            self._start()  # for those that are left
            await self._run(calls)
        self._under_way -= 1
        self._start()

    async def _run(self, calls: list[Call]) -> None:
        """Carry out calls, and let those that wait for them follow.

        None follows when the task is destroyed, with its event loop: that is neither a result nor a cancellation.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # for type checkers
        outcomes: Sequence[Any] = ()
        # A single call takes a third less time alone, and on distributed tables half. But a write would wait for locks,
        # and must not hold up calls of other users.
        is_alone = calls[0].runs_alone or (len(calls) == 1 and (self._is_read or not self._mixes_users))
        for call in calls:
            call.statement = task, calls
        if self._keeps_callers:
            CALLERS.set(callers_of([call.callers for call in calls]))
        try:
            if not is_alone:
                assert self._together is not None  # noqa: S101  # for type checkers
                self.statements += 1
                self.calls += len(calls)
                outcomes = await self._together(calls, max(call.deadline for call in calls))
            elif not calls[0].outcome.done():
                outcomes = [await self._alone(calls[0])]
        except Exception as error:
            outcomes = [error] * len(calls)
        except asyncio.CancelledError:
            pass  # no caller is left, and nothing awaits the task
        self._settle(calls, outcomes, is_alone=is_alone)

    def _settle(self, calls: list[Call], outcomes: Sequence[Any], *, is_alone: bool) -> None:
        left = []
        for call in calls:
            call.statement = None
        for call, outcome in zip(calls, outcomes, strict=False):
            if outcome is None and not is_alone:
                left.append(call)
            elif not call.outcome.done():
                call.outcome.set_result(outcome)
        self._queue.put_back(left)
        for lane in dict.fromkeys(call.lane for call in calls):
            self._start(self._queue.release(lane))

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
                is_behind = call.statement is None and self._queue.is_behind(call)
                call.outcome.set_result(TaskContended() if is_behind else StorageUnavailable())
