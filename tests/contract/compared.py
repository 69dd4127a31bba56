"""A state machine that applies each call to all repositories, and compares the outcomes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias, get_args
from unittest import mock

from hypothesis import settings
from hypothesis.stateful import MultipleResults, RuleBasedStateMachine, multiple, run_state_machine_as_test

from adapters.memory import MemoryTaskRepository, user_tasks
from adapters.postgres import Coalescing, Database, PostgresTaskRepository, migrate
from application import ApplicationError, State, TaskRepository, WritesRejected
from domain import DomainError, Task
from tests.contract.model import EPOCH, ModelRepository
from tests.contract.test_task_repository import NOW
from tests.databases import Server, patient

Story: TypeAlias = Callable[[TaskRepository], Awaitable[Any]]


class Compared(RuleBasedStateMachine):
    """One history, applied to all repositories. Its clock steps back as often as forward."""

    def __init__(self, runner: asyncio.Runner, databases: dict[Coalescing, Database]) -> None:
        super().__init__()
        self.runner = runner
        self.repositories: dict[str, TaskRepository] = {"model": ModelRepository(), "memory": MemoryTaskRepository()}
        self.now = NOW
        for mode, database in databases.items():
            runner.run(empty(database))
            self.repositories[f"postgres-{mode}"] = PostgresTaskRepository(database, coalescing=mode)

    def after(self, tick: timedelta) -> datetime:
        self.now += tick
        return self.now

    def apply(self, story: Story) -> Any:
        """Apply a call to all repositories, and return the outcome of each."""
        came_to = self.runner.run(_outcomes(story, self.repositories))
        expected = came_to["model"]
        assert came_to == dict.fromkeys(came_to, expected)
        return expected

    def shown(self, story: Story) -> MultipleResults[Task]:
        """Apply a call to all repositories, and return the task that it returns, if it does."""
        answer = self.apply(story)
        found = answer if isinstance(answer, Task) else getattr(answer, "task", None)
        return multiple(found) if found else multiple()

    def reached(self, story: Story, name: str) -> MultipleResults[State]:
        """Apply a call to all repositories, and return the state that the outcome has, if it has one."""
        state = getattr(self.apply(story), name, None)
        return multiple(state) if state else multiple()


async def _outcomes(story: Story, repositories: dict[str, TaskRepository]) -> dict[str, Any]:
    outcomes = await asyncio.gather(*(outcome(story(tasks)) for tasks in repositories.values()))
    return dict(zip(repositories, outcomes, strict=True))


async def outcome(call: Awaitable[Any]) -> Any:
    """Return what a call returns, or all that its error says."""
    try:
        return await call
    except WritesRejected as rejected:
        return {place: (type(error), vars(error)) for place, error in rejected.errors.items()}
    except (ApplicationError, DomainError) as error:
        return type(error), str(error), vars(error)


async def empty(database: Database) -> None:
    async with database.connection() as connection:
        for table in ("tasks", "task_counters", "task_tombstones", "idempotency_keys"):
            await connection.execute(f"DELETE FROM {table}")


def compare(machine: type[Compared], server: Server, runner: asyncio.Runner) -> None:
    """Run random histories. All users of all repositories have the same epoch."""
    databases: dict[Coalescing, Database] = {
        mode: patient(runner.run(server.new_database())) for mode in get_args(Coalescing)
    }

    class Here(machine):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            super().__init__(runner, databases)

    try:
        for database in databases.values():
            runner.run(migrate(database))
            runner.run(_choose_epochs(database))
        few = settings().max_examples // 3  # fewer than elsewhere, but long ones, which find more
        with mock.patch.object(user_tasks, "randbits", return_value=EPOCH):
            run_state_machine_as_test(Here, settings=settings(max_examples=few))
    finally:
        for database in databases.values():
            runner.run(database.close())


async def _choose_epochs(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(f"ALTER TABLE task_counters ALTER epoch SET DEFAULT {EPOCH}")
