"""Imports and forgotten users beside other writers and followers. What every adapter keeps is in the contract."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest

from adapters.memory import MemoryTaskRepository
from application import (
    Applied,
    NotOwner,
    StateExpired,
    TaskContended,
    Tasks,
    VersionConflict,
    Write,
    WritesRejected,
)
from application.attempts import MAX_ATTEMPTS
from domain import InvalidText
from hextasks.testing import a_task, memory_tasks
from hextasks.testing.contract.model import ModelRepository
from tests.patience import DEADLINE_SECONDS


class Contended(MemoryTaskRepository):
    """A repository in which other writers are always faster."""

    tries = 0

    async def apply(self, user_id: str, writes: Sequence[Write], **_: Any) -> Applied:
        self.tries += 1
        raise WritesRejected({0: VersionConflict()})


async def test_an_import_that_always_loses_gives_up() -> None:
    repository = Contended()
    with pytest.raises(TaskContended):
        await memory_tasks(repository=repository).of("ada").import_([a_task()])
    assert repository.tries == MAX_ATTEMPTS


async def test_an_import_of_nothing_writes_nothing(memory: Tasks, repository: MemoryTaskRepository) -> None:
    assert (await memory.of("ada").import_([])).count == 0
    assert await repository.all_states(after="", limit=9) == {}


async def test_only_ones_own_tasks_are_exported_and_imported(memory: Tasks) -> None:
    with pytest.raises(NotOwner):
        await memory.import_(actor="grace", user_id="ada", tasks=[a_task()])
    with pytest.raises(NotOwner):
        await anext(memory.export(actor="grace", user_id="ada"))
    with pytest.raises(InvalidText):
        await memory.forget("")


async def test_followers_are_woken_at_once(memory: Tasks) -> None:
    """Within the time of a test, and not of the next poll, which is disabled."""
    memory.follow_changes.signal._poll_seconds = 3600
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(memory.of("ada").follow_changes()) as pages:
        assert (await anext(pages)).changes == ()
        following = asyncio.ensure_future(anext(pages))
        await memory.of("ada").import_([a_task("a"), a_task("b")])
        assert len((await following).changes) == 2
        following = asyncio.ensure_future(anext(pages))
        assert await memory.forget("ada") == 3
        with pytest.raises(StateExpired):
            await following


async def test_an_adapter_of_before_cannot_forget() -> None:
    with pytest.raises(NotImplementedError, match="ModelRepository cannot forget a user"):
        await ModelRepository().forget("ada")
