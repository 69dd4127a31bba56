"""Concurrent clients on one task, over real connections."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import pytest

from tests.http.wire import assert_problem, listed, made, one
from tests.services import Client

CLIENTS = 16
Call = Callable[[], httpx.Response]


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CLIENTS) as threads:
        yield threads


def at_once(threads: ThreadPoolExecutor, *calls: Call) -> list[httpx.Response]:
    """Make calls that start together, and return their responses in the order of the calls."""
    together = Barrier(len(calls))

    def call(one: Call) -> httpx.Response:
        together.wait(timeout=10)
        return one()

    return list(threads.map(call, calls))


def test_concurrent_completions_complete_the_task_once(me: Client, threads: ThreadPoolExecutor) -> None:
    for _ in range(3):
        task = made(me)
        answers = at_once(threads, *[lambda task=task: me.patch(one(me, task) + "/complete")] * CLIENTS)
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.text for answer in answers} == {me.get(one(me, task)).text}
        assert answers[0].json()["version"] == task["version"] + 1


def test_concurrent_updates_lose_nothing(me: Client, threads: ThreadPoolExecutor) -> None:
    task = made(me)

    def update(n: int) -> Call:
        change = {"title": f"title {n}"} if n % 2 else {"is_completed": True}
        return lambda: me.put(one(me, task), json=change)

    answers = at_once(threads, *[update(n) for n in range(CLIENTS)])
    assert {answer.status_code for answer in answers} == {200}
    stored = me.get(one(me, task)).json()
    newest = max(answers, key=lambda answer: int(answer.json()["version"])).json()
    assert stored == newest
    assert stored["is_completed"], "a change of the title undid the completion"
    assert len({answer.json()["version"] for answer in answers}) >= CLIENTS // 2 + 1
    assert all(answer.json()["title"] == f"title {n}" for n, answer in enumerate(answers) if n % 2)


def test_of_concurrent_writes_on_one_version_one_succeeds(me: Client, threads: ThreadPoolExecutor) -> None:
    task = made(me)
    if_match = {"If-Match": f'"{task["version"]}"'}

    def update(n: int) -> Call:
        return lambda: me.put(one(me, task), json={"title": f"title {n}"}, headers=if_match)

    answers = at_once(threads, *[update(n) for n in range(CLIENTS)])
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: CLIENTS - 1}
    (winner,) = (answer for answer in answers if answer.status_code == 200)
    assert me.get(one(me, task)).json() == winner.json()


def test_a_counter_by_compare_and_set_counts_every_step(me: Client, threads: ThreadPoolExecutor) -> None:
    task = made(me, "0")

    def count_one() -> httpx.Response:
        while True:
            seen = me.get(one(me, task))
            title = str(int(seen.json()["title"]) + 1)
            answer = me.put(one(me, task), json={"title": title}, headers={"If-Match": seen.headers["ETag"]})
            if answer.status_code != 412:
                return answer

    answers = at_once(threads, *[count_one] * 8)
    assert {answer.status_code for answer in answers} == {200}
    assert me.get(one(me, task)).json()["title"] == "8"


def test_one_of_many_deletions_succeeds(me: Client, threads: ThreadPoolExecutor) -> None:
    task = made(me)
    answers = at_once(threads, *[lambda: me.delete(one(me, task))] * CLIENTS)
    assert Counter(answer.status_code for answer in answers) == {204: 1, 404: CLIENTS - 1}
    for answer in answers:
        if answer.status_code == 404:
            assert_problem(answer, "task_not_found")


def test_writes_concurrent_with_a_deletion(me: Client, threads: ThreadPoolExecutor) -> None:
    for _ in range(5):
        task, kept = made(me), made(me)
        writes: list[Call] = [
            lambda task=task: me.put(one(me, task), json={"title": "changed"}),  # type: ignore[misc]
            lambda task=task: me.patch(one(me, task) + "/complete"),  # type: ignore[misc]
        ]
        deleted, *written = at_once(threads, lambda task=task: me.delete(one(me, task)), *writes * 3)  # type: ignore[misc]
        assert deleted.status_code == 204
        assert {answer.status_code for answer in written} <= {200, 404}
        assert_problem(me.get(one(me, task)), "task_not_found")
        assert listed(me)[0] == kept


def test_many_creations_take_one_number_each(me: Client, threads: ThreadPoolExecutor) -> None:
    answers = at_once(threads, *[lambda: me.post(me.tasks, json={"title": "x"})] * CLIENTS)
    assert {answer.status_code for answer in answers} == {201}
    tasks = [answer.json() for answer in answers]
    assert sorted(task["version"] for task in tasks) == list(range(1, CLIENTS + 1))
    assert len({task["id"] for task in tasks}) == CLIENTS
    assert sorted(listed(me, limit=3), key=str) == sorted(tasks, key=str)
