"""What ends a call of the Coalescer before its statement does: cancellation and deadlines."""

import asyncio
import gc
import weakref
from collections.abc import Sequence
from contextlib import closing
from typing import Any, get_args
from uuid import UUID

import asyncpg
import pytest

from adapters.postgres import Coalescing, Executor, PostgresTaskRepository, Statement
from application import PageRequest, StorageUnavailable, TaskContended
from tests.adapters.coalesced import ADD, SAVE, Statements, outcomes


class TestCancellation:
    async def test_a_queued_call_is_not_carried_out(self) -> None:
        statements = Statements(most_under_way=1)
        first = statements.call("grace")
        await statements.started(1)
        cancelled, waiting = statements.call("ada", 1), statements.call("ada", 2)
        await asyncio.sleep(0)
        cancelled.cancel()
        statements.end()
        await statements.started(2)
        statements.end()
        assert await outcomes(first, waiting) == [("grace", 0), ("ada", 2)]
        assert statements.shared == [[("grace", 0)], [("ada", 2)]]

    async def test_a_statement_goes_on_for_the_others_and_ends_with_the_last(self) -> None:
        statements = Statements()
        calls = [statements.call("ada", 1), statements.call("grace", 2)]
        await statements.started(1)
        calls[0].cancel()
        await outcomes(calls[0])
        assert statements.cancelled == 0
        calls[1].cancel()
        await outcomes(calls[1])
        await asyncio.sleep(0)
        assert statements.cancelled == 1
        again = statements.call("ada", 3)
        await statements.started(2)
        statements.end(1)
        assert await again == ("ada", 3)

    async def test_a_call_that_runs_alone_ends_with_its_caller(self) -> None:
        statements = Statements()
        statements.run_alone = {1}
        call = statements.call("ada", 1)
        await statements.started(1)
        statements.end(0)
        await statements.started(2)
        call.cancel()
        await outcomes(call)
        await asyncio.sleep(0)
        assert statements.cancelled == 1


class TestEventLoops:
    def test_calls_that_a_closed_loop_has_left_delay_no_other(self) -> None:
        statements = Statements(most_under_way=1)

        async def leave_calls(turns: int) -> None:
            statements.call("ada", 1)
            for _ in range(turns):
                await asyncio.sleep(0)

        async def one() -> object:
            statements.gates.clear()
            call = statements.call("ada", 2)
            await statements.started(1)
            statements.end()
            return await call

        for turns in range(5):
            asyncio.run(leave_calls(turns))
            assert asyncio.run(one()) == ("ada", 2)

    def test_a_statement_that_is_destroyed_with_its_loop_starts_no_other(self) -> None:
        async def leave_calls() -> None:
            statements = Statements(most_under_way=1)
            statements.call("ada", 1)
            await statements.started(1)
            statements.call("grace", 2)
            await asyncio.sleep(0)

        with closing(asyncio.new_event_loop()) as loop:
            loop.run_until_complete(leave_calls())
        gc.collect()  # an exception in what is destroyed would fail this test

    def test_a_loop_is_refused_while_another_one_has_calls(self) -> None:
        statements = Statements()

        async def begin() -> None:
            statements.call("ada", 1)
            await statements.started(1)

        async def one() -> None:
            await statements.call("ada", 2)

        with asyncio.Runner() as first, asyncio.Runner() as other:
            first.run(begin())
            with pytest.raises(RuntimeError, match="another event loop uses this repository"):
                other.run(one())


@pytest.mark.slow
class TestDeadlines:
    async def test_each_call_has_its_own(self) -> None:
        statements = Statements(timeout=0.1, most_under_way=1)
        early = statements.call("ada", 1)
        await statements.started(1)
        await asyncio.sleep(0.05)
        late = statements.call("grace", 2)
        began = asyncio.get_running_loop().time()
        assert isinstance((await outcomes(early))[0], StorageUnavailable)
        assert isinstance((await outcomes(late))[0], StorageUnavailable)
        assert asyncio.get_running_loop().time() - began > 0.09, "the second waited for as long as the first"
        assert len(statements.shared) == 1, "what expired was not sent"

    async def test_a_call_queued_behind_the_same_user_raises_task_contended(self) -> None:
        statements = Statements(timeout=0.1, most_under_way=1)
        calls = [statements.call("ada", 1), statements.call("ada", 1), statements.call("ada", 2, SAVE)]
        await statements.started(1)
        calls.append(statements.call("grace", 3))
        assert [type(outcome) for outcome in await outcomes(*calls)] == [
            StorageUnavailable,
            TaskContended,
            TaskContended,
            StorageUnavailable,
        ]
        statements.end()
        await asyncio.sleep(0.01)
        assert statements.shared == [[("ada", 1)]]

    async def test_a_read_never_delays_another(self) -> None:
        statements = Statements(timeout=0.1, is_read=True, mixes_users=False)
        calls = [statements.call("ada", 1)]
        await statements.started(1)
        calls.append(statements.call("ada", 1))
        assert [type(outcome) for outcome in await outcomes(*calls)] == [StorageUnavailable] * 2
        statements.end()
        await asyncio.sleep(0)

    @pytest.mark.parametrize("coalescing", get_args(Coalescing))
    async def test_a_search_queued_behind_the_same_user_raises_task_contended(self, coalescing: Coalescing) -> None:
        database = StalledDatabase()
        tasks = PostgresTaskRepository(database, coalescing=coalescing)
        searches = [tasks.list(user, PageRequest(text="tea")) for user in ("ada", "ada", "grace", "ada")]
        found = await asyncio.gather(*searches, return_exceptions=True)
        assert [type(each) for each in found] == [StorageUnavailable, TaskContended, StorageUnavailable, TaskContended]
        assert database.searches == 2
        database.recovered.set()


class StalledDatabase(Executor):
    timeout = 0.1

    def __init__(self) -> None:
        self.recovered = asyncio.Event()
        self.searches = 0

    async def fetch(
        self, statement: Statement, arguments: Sequence[Any] = (), *, deadline: float | None = None
    ) -> list[asyncpg.Record]:
        self.searches += 1
        await self.recovered.wait()
        return []


@pytest.mark.slow
async def test_nothing_leaks() -> None:
    class Argument:
        pass

    statements = Statements(timeout=0.1, most_under_way=1)
    statements.run_alone = {3}
    arguments = [Argument() for _ in range(40)]
    seen = [weakref.ref(argument) for argument in arguments]
    calls = [
        asyncio.create_task(statements.coalescer.call(ADD, f"user {n % 9}", UUID(int=n % 4), (argument,)))
        for n, argument in enumerate(arguments)
    ]
    del arguments
    await statements.started(1)
    calls[0].cancel()
    statements.end()
    kinds = {type(outcome) for outcome in await outcomes(*calls)}
    assert kinds == {asyncio.CancelledError, tuple, StorageUnavailable, TaskContended}
    statements.end()
    await asyncio.sleep(0.01)
    calls.clear()
    gc.collect()
    assert [ref() for ref in seen if ref()] == []
