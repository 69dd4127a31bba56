"""Batches: many operations in one request, all or nothing."""

import httpx
import pytest

from tests.http.wire import STATUS, Json, assert_problem, listed, made, one, some_id
from tests.services import Client

CREATE = {"op": "create", "title": "Buy tea"}


def batch(client: Client, *operations: Json, **body: object) -> httpx.Response:
    return client.post(f"{client.tasks}/batch", json={"operations": operations, **body})


def state_of(client: Client) -> str:
    return str(client.get(f"{client.tasks}/changes", params={"limit": 500}).json()["next"])


def assert_rejected(answer: httpx.Response, code: str, *errors: Json) -> None:
    """Prove that a batch was rejected for these reasons, the first of which is that of the whole."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (STATUS[code], code), problem
    assert all(error.pop("detail") for error in problem["errors"])
    assert problem["errors"] == [*errors]
    assert "sync-token" not in answer.headers


class TestResults:
    def test_they_come_in_the_order_of_the_operations_and_of_their_numbers(self, me: Client) -> None:
        first, second, third, fourth = (made(me, title) for title in ("first", "second", "third", "fourth"))
        task_id = some_id()
        answer = batch(
            me,
            {"op": "delete", "id": second["id"]},
            {"op": "create", "title": " Buy tea "},
            {"op": "update", "id": first["id"], "title": "renamed", "is_completed": True},
            {"op": "update", "id": fourth["id"], "title": "fourth"},  # without effect
            {"op": "complete", "id": third["id"]},
            {"op": "create", "title": "Buy milk", "id": task_id},
        )
        assert answer.status_code == 200
        removed, *others = answer.json()["results"]
        assert removed == {"op": "delete", "id": second["id"], "version": 5}
        tea, renamed, unchanged, done, milk = (result["task"] for result in others)
        assert {result["op"] for result in others} == {"put"}
        assert [task["version"] for task in (tea, renamed, done, milk)] == [6, 7, 8, 9]
        assert (tea["title"], renamed["title"], renamed["is_completed"]) == ("Buy tea", "renamed", True)
        assert (unchanged, done["is_completed"], milk["id"]) == (fourth, True, task_id)
        assert sorted(listed(me), key=str) == sorted([tea, renamed, unchanged, done, milk], key=str)
        token = answer.json()["next"]
        assert token == answer.headers["sync-token"] == state_of(me)
        assert token.endswith("-9")

    def test_operations_without_effect_have_results_and_no_token(self, me: Client) -> None:
        task = me.patch(one(me, made(me)) + "/complete").json()
        state = state_of(me)
        same = {"op": "create", "id": task["id"], "title": task["title"]}
        for operation in (
            same,
            {"op": "complete", "id": task["id"]},
            {"op": "update", "id": task["id"], "is_completed": True},
        ):
            answer = batch(me, operation)
            assert answer.json() == {"results": [{"op": "put", "task": task}], "next": state}
            assert "sync-token" not in answer.headers

    def test_100_operations_are_accepted(self, me: Client) -> None:
        created = batch(me, *[{"op": "create", "title": f"task {n}"} for n in range(100)]).json()["results"]
        assert [result["task"]["title"] for result in created] == [f"task {n}" for n in range(100)]
        assert [result["task"]["version"] for result in created] == [*range(1, 101)]
        assert len(listed(me)) == 100
        removed = batch(me, *[{"op": "delete", "id": result["task"]["id"]} for result in created])
        assert [result["version"] for result in removed.json()["results"]] == [*range(101, 201)]
        assert listed(me) == []


class TestRejection:
    def test_each_operation_at_fault_is_named_and_none_is_carried_out(self, me: Client, other: Client) -> None:
        task, kept, theirs = made(me), made(me), made(other)
        state = state_of(me)
        answer = batch(
            me,
            CREATE,
            {"op": "update", "id": task["id"], "title": "x", "if_version": 9},
            {"op": "delete", "id": theirs["id"]},
            {"op": "complete", "id": some_id()},
            {"op": "create", "id": kept["id"], "title": "another"},
            {"op": "delete", "id": some_id(), "if_version": 1},
        )
        assert_rejected(
            answer,
            "version_mismatch",
            {"pointer": "/operations/1/if_version", "code": "version_mismatch", "current_version": 1},
            *({"pointer": f"/operations/{n}/id", "code": "task_not_found"} for n in (2, 3)),
            {"pointer": "/operations/4/id", "code": "task_already_exists"},
            {"pointer": "/operations/5/id", "code": "task_not_found"},
        )
        assert (listed(me), listed(other), state_of(me)) == ([kept, task], [theirs], state)

    @pytest.mark.parametrize("place", [0, 50, 99])
    def test_one_in_100_is_enough(self, me: Client, place: int) -> None:
        operations: list[Json] = [CREATE] * 100
        operations[place] = {"op": "delete", "id": some_id()}
        error = {"pointer": f"/operations/{place}/id", "code": "task_not_found"}
        assert_rejected(batch(me, *operations), "task_not_found", error)
        assert listed(me) == []
        assert made(me)["version"] == 1

    def test_the_id_of_a_deleted_task_is_taken(self, me: Client) -> None:
        task = made(me)
        me.delete(one(me, task))
        answer = batch(me, CREATE, {"op": "create", "id": task["id"], "title": task["title"]})
        assert_rejected(answer, "task_already_exists", {"pointer": "/operations/1/id", "code": "task_already_exists"})
        assert listed(me) == []

    def test_all_titles_at_fault_are_named(self, me: Client) -> None:
        answer = batch(
            me,
            {"op": "create", "title": " "},
            CREATE,
            {"op": "update", "id": some_id(), "title": "x" * 501},
            {"op": "create", "title": "a\x00b"},
        )
        assert_problem(
            answer,
            "validation_error",
            ("pointer", "/operations/0/title", "title_empty"),
            ("pointer", "/operations/2/title", "title_too_long"),
            ("pointer", "/operations/3/title", "title_control_character"),
        )
        assert listed(me) == []

    def test_a_task_may_be_named_once(self, me: Client) -> None:
        task = made(me)
        for op in ("delete", "complete"):
            answer = batch(
                me, CREATE, {"op": "update", "id": task["id"], "title": "x"}, {"op": op, "id": task["id"].upper()}
            )
            assert_problem(answer, "validation_error", ("pointer", "/operations/1/id", "task_repeated"))
        new = {**CREATE, "id": some_id()}
        assert_problem(batch(me, new, new), "validation_error", ("pointer", "/operations/0/id", "task_repeated"))
        assert listed(me) == [task]


class TestPreconditions:
    def test_if_state_must_be_the_state_of_the_list(self, me: Client, other: Client) -> None:
        made(other)
        for wrong in (state_of(other), "ffffffffffff-0"):
            assert_problem(batch(me, CREATE, if_state=wrong), "version_mismatch")
        first = batch(me, CREATE, if_state="000000000000-0")
        assert first.status_code == 200
        again = batch(me, CREATE, if_state="000000000000-0")
        assert_problem(again, "version_mismatch")
        assert batch(me, CREATE, if_state=first.json()["next"]).status_code == 200
        assert len(listed(me)) == 2

    def test_if_version_must_be_the_version_of_the_task(self, me: Client) -> None:
        tasks = [made(me) for _ in range(3)]
        operations: list[Json] = [
            {"op": "update", "title": "x"},
            {"op": "complete"},
            {"op": "delete"},
        ]
        named = [{**each, "id": task["id"]} for each, task in zip(operations, tasks, strict=True)]
        stale = [{**each, "if_version": task["version"] + 1} for each, task in zip(named, tasks, strict=True)]
        answer = batch(me, *stale)
        assert_rejected(
            answer,
            "version_mismatch",
            *(
                {"pointer": f"/operations/{n}/if_version", "code": "version_mismatch", "current_version": n + 1}
                for n in range(3)
            ),
        )
        assert listed(me) == tasks[::-1]
        right = [{**each, "if_version": task["version"]} for each, task in zip(named, tasks, strict=True)]
        assert batch(me, *right).json()["next"].endswith("-6")

    @pytest.mark.parametrize("version", [2**63 - 1, 2**63, 2**64, 10**400])
    def test_a_huge_if_version_is_that_of_no_task(self, me: Client, version: int) -> None:
        task = made(me)
        answer = batch(me, {"op": "delete", "id": task["id"], "if_version": version})
        assert answer.status_code in (400, 412)
        assert listed(me) == [task]
