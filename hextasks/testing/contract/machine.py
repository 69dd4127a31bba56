"""A state machine that applies each call to a repository and to the model, and compares the outcomes."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeAlias, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis.stateful import MultipleResults, RuleBasedStateMachine, multiple, run_state_machine_as_test

from hextasks import State, Task, TaskRepository
from hextasks.testing.contract.calls import NOW, outcome
from hextasks.testing.contract.case import RepositoryCase
from hextasks.testing.contract.model import ModelRepository

T = TypeVar("T")
Story: TypeAlias = Callable[[TaskRepository], Awaitable[Any]]
USERS = ["ada", "Ada", "grace"]
_LATEST = datetime.max.replace(tzinfo=UTC)
_histories = itertools.count(1)


class Compared(RuleBasedStateMachine):
    """One history, applied to both. Its clock steps back as often as forward, its users are new."""

    def __init__(self, case: RepositoryCase, tasks: TaskRepository, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.case, self.tasks, self.model = case, tasks, ModelRepository()
        self.now = NOW
        self._loop = loop
        self._suffix = f" {next(_histories)}"
        self.users = [self.user(name) for name in USERS]
        self.run(_purge_all(tasks))

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a call in the repository's event loop, from the thread of Hypothesis."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def user(self, name: str) -> str:
        """Return the id of a user of this history."""
        return name + self._suffix

    def after(self, tick: timedelta) -> datetime:
        """Move the clock."""
        self.now += tick
        return self.now

    def apply(self, story: Story) -> Any:
        """Apply a call to both, and return its outcome."""
        return self.run(self._both(story))

    async def _both(self, story: Story) -> Any:
        answer = await outcome(story(self.tasks))
        unknown = [user for user in self.users if user not in self.model.epochs]
        if unknown:  # repositories choose epochs at random
            states = await self.tasks.states(unknown)
            self.model.epochs |= {user: state.epoch for user, state in states.items()}
        assert answer == await outcome(story(self.model))
        return answer

    def shown(self, story: Story) -> MultipleResults[Task]:
        """Apply a call to both, and return the task that it returns, if it does."""
        answer = self.apply(story)
        found = answer if isinstance(answer, Task) else getattr(answer, "task", None)
        return multiple(found) if found else multiple()

    def reached(self, story: Story, name: str) -> MultipleResults[State]:
        """Apply a call to both, and return the state that the outcome has, if it has one."""
        state = getattr(self.apply(story), name, None)
        return multiple(state) if state else multiple()


async def compare(machine: type[Compared], case: RepositoryCase, tasks: TaskRepository) -> None:
    """Run random histories, a third as many as the Hypothesis profile has examples, because they are long."""
    chosen = settings(
        max_examples=max(1, settings().max_examples // 3), deadline=None, suppress_health_check=[*HealthCheck]
    )
    loop = asyncio.get_running_loop()

    class Here(machine):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            super().__init__(case, tasks, loop)

    with ThreadPoolExecutor(1) as executor:
        await loop.run_in_executor(executor, partial(run_state_machine_as_test, Here, settings=chosen))


async def _purge_all(tasks: TaskRepository) -> None:
    while await tasks.purge(removed_before=_LATEST, keys_before=_LATEST, limit=500):
        pass
