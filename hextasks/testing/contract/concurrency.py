"""The contract for concurrent users with the same ids: no user's calls affect another's."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hextasks import (
    NOTHING,
    Applied,
    Once,
    PageRequest,
    State,
    Task,
    TaskChange,
    TaskRepository,
    Write,
    WriteKind,
    Written,
)
from hextasks.testing.contract.calls import NOW, a_task, outcome
from hextasks.testing.contract.case import RepositoryCase
from hextasks.testing.contract.model import ModelRepository

USERS = [f"user {n}" for n in range(24)]
IDS = [UUID(int=n) for n in range(10)]
KEYS = ["a", "b", "c", "d"]
Step = Callable[[TaskRepository], Awaitable[Any]]


@dataclass
class Caller:
    """One user, what it has seen, and the calls that it may make of any repository."""

    chance: random.Random
    user: str
    seen: list[Task]
    states: list[State] = field(default_factory=lambda: [NOTHING])

    def notice(self, outcome: Any) -> None:
        found = outcome.results if isinstance(outcome, Applied) else [getattr(outcome, "task", outcome)]
        self.seen += [each for each in found if isinstance(each, Task)]
        states = [getattr(outcome, name, None) for name in ("state", "next")]
        self.states += [each for each in states if isinstance(each, State)]

    def one_step(self, now: datetime) -> Step:
        user, task_id, seen = self.user, self.chance.choice(IDS), self.chance.choice(self.seen)
        task, changed = self.new(task_id, now), self.changed(seen, now)
        version, state = self.chance.choice([None, seen.version]), self.chance.choice(self.states[-4:])
        once = Once(key=self.chance.choice(KEYS), fingerprint=self.chance.choice([b"1", b"2"]))
        writes = [self.write(each, now) for each in self.chance.sample(IDS, self.chance.randrange(1, 5))]
        options = {"now": now, "once": self.chance.choice([None, once]), "if_state": self.chance.choice([None, state])}
        return self.chance.choice(
            [
                lambda tasks: tasks.add(task),
                lambda tasks: tasks.get(user, task_id),
                lambda tasks: tasks.get_many(user, IDS),
                lambda tasks: tasks.save(changed),
                lambda tasks: tasks.save(changed),
                lambda tasks: tasks.remove(user, seen.id, removed_at=now, expected_version=version),
                lambda tasks: tasks.list(user, PageRequest(limit=2, text=self.user[-1]), known=state),
                lambda tasks: tasks.apply(user, writes, **options),
                lambda tasks: tasks.apply(user, writes[:1], **options),
                lambda tasks: tasks.recall(user, once),
                lambda tasks: tasks.changes(user, since=state, limit=3),
                lambda tasks: tasks.states([user]),
            ]
        )

    def new(self, task_id: UUID, now: datetime) -> Task:
        return a_task(f"{self.user}, {self.chance.randrange(10**6)}", user_id=self.user, id=task_id, now=now)

    def changed(self, task: Task, now: datetime) -> Task:
        title = f"{self.user}, {self.chance.randrange(10**6)}"
        return task.apply(TaskChange(title=title, is_completed=self.chance.random() < 0.5), now=now)

    def write(self, task_id: UUID, now: datetime) -> Write:
        seen = [task for task in self.seen if task.id == task_id]
        if not seen:
            return Write(kind="add", task=self.new(task_id, now))
        kind: WriteKind = self.chance.choice(["save", "save", "remove", "keep"])
        return Write(kind=kind, task=self.changed(seen[-1], now) if kind == "save" else seen[-1])


class ConcurrencyContract(RepositoryCase):
    """Many users at once, with the same ids."""

    async def test_each_user_gets_the_same_results_as_alone(self, tasks: TaskRepository) -> None:
        first = {user: a_task(user_id=user, id=IDS[0]) for user in USERS}
        await asyncio.gather(*(tasks.add(task) for task in first.values()))
        epochs = {user: state.epoch for user, state in (await tasks.states(USERS)).items()}

        async def live(user: str) -> list[Any]:
            model, caller = ModelRepository(), Caller(random.Random(user), user, [first[user]])
            model.epochs[user] = epochs[user]  # chosen at random
            caller.notice(await model.add(first[user]))
            outcomes = []
            for n in range(40):
                step = caller.one_step(NOW + timedelta(seconds=n))
                outcomes.append(expected := await outcome(step(model)))
                assert await outcome(step(tasks)) == expected
                caller.notice(expected)
            return outcomes

        outcomes = [each for lived in await asyncio.gather(*(live(user) for user in USERS)) for each in lived]
        assert {Task, Written, Applied} <= {type(each) for each in outcomes}
