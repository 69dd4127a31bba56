"""The Coalescer by itself: which calls share a statement, and in which order."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from adapters.postgres import coalescing
from adapters.postgres.call_queue import MAX_READS, MAX_WRITES, Call
from adapters.postgres.coalescing import Coalescer
from application import StorageUnavailable
from tests.adapters.coalesced import ADD, SAVE, Statements, outcomes


async def test_calls_that_arrive_together_or_meanwhile_share_a_statement() -> None:
    statements = Statements(most_under_way=1)
    first = [statements.call("ada", 1), statements.call("grace", 2)]
    await statements.started(1)
    later = [statements.call(user, n) for n, user in enumerate(("ada", "grace", "alan"), start=3)]
    await asyncio.sleep(0.01)
    assert statements.shared == [[("ada", 1), ("grace", 2)]]
    statements.end()
    await statements.started(2)
    statements.end()
    assert await outcomes(*first, *later) == [("ada", 1), ("grace", 2), ("ada", 3), ("grace", 4), ("alan", 5)]
    assert [len(calls) for calls in statements.shared] == [2, 3]


@pytest.mark.parametrize(("is_read", "bound"), [(True, MAX_READS), (False, MAX_WRITES)])
async def test_neither_calls_nor_statements_exceed_their_bounds(is_read: bool, bound: int) -> None:
    statements = Statements(is_read=is_read, most_under_way=3)
    calls = [statements.call(f"user {n}", n) for n in range(5 * bound + 2)]
    for ended in range(6):
        await statements.started(min(ended + 3, 6))
        await asyncio.sleep(0)
        assert len(statements.gates) == min(ended + 3, 6)
        statements.end(ended)
    await asyncio.gather(*calls)
    assert [len(calls) for calls in statements.shared] == [bound] * 5 + [2]


@pytest.mark.parametrize(("waiting", "slow"), [(2, 60), (0, 0)])
async def test_a_second_statement_starts_for_enough_calls_or_after_a_slow_one(
    monkeypatch: pytest.MonkeyPatch, waiting: int, slow: float
) -> None:
    monkeypatch.setattr(coalescing, "SLOW_SECONDS", slow)
    statements = Statements(most_under_way=2, enough=3)
    calls = [statements.call("ada", 1)]
    await statements.started(1)
    calls += [statements.call(f"user {n}", n) for n in range(waiting)]
    await asyncio.sleep(0.01)
    assert len(statements.shared) == 1
    calls.append(statements.call("alan", 4))
    await statements.started(2)
    assert [len(shared) for shared in statements.shared] == [1, waiting + 1]
    statements.end()
    await asyncio.gather(*calls)


async def test_a_statement_has_one_operation_and_each_task_once() -> None:
    statements = Statements()
    calls = [statements.call("ada", 1), statements.call("ada", 1), statements.call("grace", 2, SAVE)]
    calls += [statements.call("alan", 3), statements.call("ada", 4, SAVE)]
    await statements.started(2)
    assert statements.shared == [[("ada", 1), ("alan", 3)], [("grace", 2)]]
    while not all(call.done() for call in calls):
        statements.end()
        await asyncio.sleep(0)
    assert statements.shared[2:] == [[("ada", 1)], [("ada", 4)]]


async def test_reads_of_one_task_share_a_statement() -> None:
    for mixes_users in (True, False):
        statements = Statements(is_read=True, mixes_users=mixes_users)
        calls = [statements.call("ada", 1) for _ in range(3)]
        await statements.started(1)
        assert statements.shared == [[("ada", 1)] * 3]
        statements.end()
        await asyncio.gather(*calls)


async def test_calls_of_different_users_share_no_statement_in_mode_user() -> None:
    statements = Statements(mixes_users=False, most_under_way=100)
    calls = [statements.call(f"user {n % 7}", n) for n in range(70)]
    await statements.started(7)
    statements.end()
    await asyncio.gather(*calls)
    assert len(statements.shared) == 7
    assert all(len({user for user, _ in calls}) == 1 for calls in statements.shared)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.slow
async def test_each_user_is_served_in_order_by_one_statement_at_a_time(seed: int) -> None:
    """Random calls, durations, rejections and cancellations."""
    chance = random.Random(seed)
    under_way: Counter[str] = Counter()
    served: defaultdict[str, list[int]] = defaultdict(list)

    async def run(calls: Sequence[Call]) -> list[Any]:
        users = Counter(dict.fromkeys((call.user_id for call in calls), 1))
        assert not under_way & users, "two statements of one user at a time"
        assert len({(call.user_id, call.task_id) for call in calls}) == len(calls)
        assert len({call.operation for call in calls}) == 1
        under_way.update(users)
        try:
            await asyncio.sleep(chance.uniform(0, 0.001))
        finally:
            under_way.subtract(users)
        if len(calls) > 1 and chance.random() < 0.2:
            return [None] * len(calls)
        for call in calls:
            served[call.user_id].append(call.arguments[0])
        return [call.arguments for call in calls]

    async def together(calls: Sequence[Call], _: float) -> list[Any]:
        return await run(calls)

    async def alone(call: Call) -> Any:
        return (await run([call]))[0]

    coalescer = Coalescer(together, alone, timeout=20.0)

    async def caller(n: int, user: str) -> None:
        operation, task_id = chance.choice((ADD, SAVE)), UUID(int=chance.randrange(4))
        assert await coalescer.call(operation, user, task_id, (n,)) == (n,)

    callers = []
    for n in range(600):
        callers.append(asyncio.create_task(caller(n, f"user {chance.randrange(9)}")))
        if chance.random() < 0.2:
            await asyncio.sleep(0)
        if chance.random() < 0.1:
            asyncio.get_running_loop().call_later(chance.uniform(0, 0.01), callers[-1].cancel)
    done = await outcomes(*callers)
    assert {type(outcome) for outcome in done} == {type(None), asyncio.CancelledError}
    for user, numbers in served.items():
        assert numbers == sorted(set(numbers)), user


class TestCallsThatRunAlone:
    async def test_a_call_that_was_not_carried_out_runs_alone_before_its_users_other_calls(self) -> None:
        statements = Statements(most_under_way=1)
        statements.run_alone = {1, 2}
        first = [statements.call("ada", 1), statements.call("ada", 2), statements.call("grace", 3)]
        await statements.started(1)
        behind = statements.call("ada", 4)
        statements.end(0)
        await statements.started(2)
        assert statements.alone == [("ada", 1)]
        others = [statements.call("grace", n) for n in range(5, 9)]
        await statements.started(3)
        assert statements.shared[1] == [("grace", n) for n in range(5, 9)], (
            "a call that waits for a lock delays no other user"
        )
        while not behind.done():
            statements.end()
            await asyncio.sleep(0)
        assert await outcomes(*first) == ["alone", "alone", ("grace", 3)]
        assert statements.alone == [("ada", 1), ("ada", 2)]
        assert await behind == ("ada", 4)
        await asyncio.gather(*others)

    async def test_without_shared_statements_all_run_alone_and_in_order(self) -> None:
        statements = Statements()
        statements.coalescer = Coalescer(None, statements._alone, timeout=20.0)
        calls = [statements.call(user, n) for n in range(3) for user in ("ada", "grace")]
        await statements.started(2)
        await asyncio.sleep(0)
        assert statements.alone == [("ada", 0), ("grace", 0)]
        while not all(call.done() for call in calls):
            statements.end()
            await asyncio.sleep(0)
        assert sorted(statements.alone) == sorted((user, n) for n in range(3) for user in ("ada", "grace"))

    async def test_an_error_reaches_the_calls_that_it_concerns(self) -> None:
        async def together(calls: Sequence[Call], _: float) -> Sequence[Any]:
            if calls[0].operation == SAVE:
                raise StorageUnavailable
            return [ValueError("mine") if call.user_id == "ada" else call.user_id for call in calls]

        coalescer = Coalescer(together, lambda _: asyncio.sleep(0), timeout=20.0)
        calls = [coalescer.call(ADD, user, UUID(int=0), ()) for user in ("ada", "grace")]
        mine, hers = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(mine, ValueError)
        assert hers == "grace"
        for outcome in await asyncio.gather(
            *(coalescer.call(SAVE, user, UUID(int=0), ()) for user in ("ada", "grace")), return_exceptions=True
        ):
            assert isinstance(outcome, StorageUnavailable)
        assert await coalescer.call(ADD, "grace", UUID(int=0), ()) == "grace"
