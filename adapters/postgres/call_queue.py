"""Calls that wait for a statement, and which of them share the next one."""

import asyncio
from collections import deque
from typing import Any
from uuid import UUID

MAX_READS, MAX_WRITES = 32, 16
"""The most calls in one statement. More are divided among statements, so that the service works on the results of one
while PostgreSQL carries out the next. Writes take PostgreSQL longer."""


class Call:
    """An operation on one task, and the outcome that its caller waits for."""

    __slots__ = (
        "arguments",
        "callers",
        "deadline",
        "lane",
        "operation",
        "outcome",
        "runs_alone",
        "statement",
        "task_id",
        "user_id",
    )

    callers: tuple[object, ...]
    deadline: float
    lane: "Lane"
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


class Lane:
    """Calls that wait for each other: at most one statement at a time carries out calls of one lane."""

    __slots__ = ("is_under_way", "user_id", "waiting")

    def __init__(self, call: Call) -> None:
        self.user_id = call.user_id
        self.is_under_way = False
        self.waiting = deque((call,))


class CallQueue:
    """Calls in the order of their arrival; those of one user are in a lane, unless they are independent reads.

    A call whose outcome is settled while it waits, because its caller was cancelled or its deadline passed, is dropped.
    """

    def __init__(self, *, is_read: bool, mixes_users: bool) -> None:
        """Unless `is_read`, no task stands twice in one statement; unless `mixes_users`, it has one user's calls."""
        self._is_read = is_read
        self._mixes_users = mixes_users
        self._max_calls = MAX_READS if is_read else MAX_WRITES
        self._lanes: dict[str, Lane] | None = None if is_read and mixes_users else {}
        self._ready: deque[Lane] = deque()

    def __len__(self) -> int:
        """Return how many calls wait that may share a statement now, one user's writes counted as one."""
        return len(self._ready)

    def put(self, call: Call) -> Call | None:
        """Add a call; return it if it has to run alone now."""
        lane = self._lanes.get(call.user_id) if self._lanes else None
        if lane is not None:
            call.lane = lane
            lane.waiting.append(call)
            return None
        call.lane = lane = Lane(call)
        if self._lanes is not None:
            self._lanes[call.user_id] = lane
        return self.release(lane)

    def put_back(self, calls: list[Call]) -> None:
        """Add calls again, ahead of the others in their lanes, to run alone."""
        for call in reversed(calls):
            call.runs_alone = True
            call.lane.waiting.appendleft(call)

    def release(self, lane: Lane) -> Call | None:
        """Let the next calls of a lane follow; return the one that has to run alone now, if it comes first."""
        waiting = lane.waiting
        while waiting and waiting[0].outcome.done():
            waiting.popleft()
        lane.is_under_way = bool(waiting) and waiting[0].runs_alone
        if lane.is_under_way:
            return waiting.popleft()
        if waiting:
            self._ready.append(lane)
        else:
            self._drop(lane)
        return None

    def take(self) -> list[Call]:
        """Remove the calls of the next shared statement, all of one operation."""
        calls: list[Call] = []
        passed: list[Lane] = []
        while self._ready and len(calls) < self._max_calls and (self._mixes_users or not calls):
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

    def is_behind(self, call: Call) -> bool:
        """Whether a call waits for others of its user, which reads do not have to."""
        return not self._is_read and (call.lane.is_under_way or call.lane.waiting[0] is not call)

    def _take_from(self, lane: Lane, calls: list[Call]) -> None:
        """Move calls from the head of a lane to those that they can share a statement with."""
        waiting = lane.waiting
        ids: set[UUID] = set()
        while waiting and len(calls) < self._max_calls:
            call = waiting[0]
            if not call.outcome.done():
                can_share = call.operation is calls[0].operation and not call.runs_alone if calls else True
                if call.task_id in ids or not can_share:
                    break
                if not self._is_read:
                    ids.add(call.task_id)
                calls.append(call)
            waiting.popleft()

    def _drop(self, lane: Lane) -> None:
        if self._lanes is not None:
            del self._lanes[lane.user_id]
