"""Tasks whose ids are made by clients."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import httpx
import pytest

from tests.http.wire import assert_problem, listed, made, one
from tests.services import Client


def create(client: Client, task_id: object, title: str = "Buy milk") -> httpx.Response:
    return client.post(client.tasks, json={"id": task_id, "title": title})


def test_an_id_that_exists_with_the_same_title_is_the_task_as_it_is(me: Client) -> None:
    task_id = str(uuid4())
    first = create(me, task_id)
    assert (first.status_code, first.json()["id"]) == (201, task_id)
    again = create(me, task_id.upper(), "  Buy milk ")
    assert (again.status_code, again.json()) == (200, first.json())
    done = me.patch(one(me, first.json()) + "/complete").json()
    late = create(me, task_id)
    assert (late.status_code, late.json(), late.headers["etag"]) == (200, done, '"2"')
    assert late.headers["location"] == first.headers["location"]
    assert "sync-token" not in late.headers
    assert listed(me) == [done]


def test_with_another_title_or_after_its_deletion_it_is_taken(me: Client) -> None:
    task = create(me, str(uuid4())).json()
    assert_problem(create(me, task["id"], "Buy tea"), "task_already_exists")
    assert listed(me) == [task]
    me.delete(one(me, task))
    for title in ("Buy milk", "Buy tea"):
        assert_problem(create(me, task["id"], title), "task_already_exists")
    assert listed(me) == []
    assert made(me)["version"] == 3, "a rejected request took a number"


def test_the_ids_of_users_are_independent(me: Client, other: Client) -> None:
    task_id = str(uuid4())
    mine = create(me, task_id)
    theirs = create(other, task_id, "Buy tea")
    assert (mine.status_code, theirs.status_code) == (201, 201)
    other.delete(one(other, theirs.json()))
    assert (listed(me), listed(other)) == ([mine.json()], [])


@pytest.mark.parametrize(
    "task_id", [str(UUID(int=0)), str(UUID(int=2**128 - 1)), "61b5f2ac-5450-4125-8533-e29f78994719"]
)
def test_any_uuid_is_an_id(me: Client, task_id: str) -> None:
    task = create(me, task_id).json()
    assert me.get(one(me, task)).json()["id"] == task_id


@pytest.mark.parametrize(
    ("task_id", "code"),
    [
        ("", "invalid_value"),
        ("x", "invalid_value"),
        ("x" * 36, "invalid_value"),
        (None, "wrong_type"),
        (1, "wrong_type"),
    ],
)
def test_anything_else_is_not_valid(me: Client, task_id: object, code: str) -> None:
    assert_problem(create(me, task_id), "validation_error", ("pointer", "/id", code))
    assert listed(me) == []


def test_of_concurrent_creations_with_one_id_one_is_carried_out(me: Client) -> None:
    task_id = str(uuid4())
    with ThreadPoolExecutor(20) as threads:
        answers = [*threads.map(lambda _: create(me, task_id), range(20))]
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 19}
    assert len({answer.text for answer in answers}) == 1
    assert [task["version"] for task in listed(me)] == [1]
