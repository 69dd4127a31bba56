"""Synchronization: `Sync-Token` of writes, and the pages of `changes`."""

from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest

from tests.http.wire import FIRST_TOKEN, Json, assert_problem, listed, made, one, raw
from tests.services import Client, Service

MALFORMED = ["", "x", "null", "0", "-1", "000000000000", "000000000000--1", "00000000000g-1", "000000000000-01"]
MALFORMED += ["000000000000-1-0", "000000000000-1-1-1", "ABCDEF000000-1", "000000000000-9999999999999999999", "%00"]
Write = Callable[[], httpx.Response]


def batch(client: Client, *operations: Json, **body: object) -> httpx.Response:
    return client.post(f"{client.tasks}/batch", json={"operations": operations, **body})


def pull(client: Client, since: str | None = None, **query: int) -> Json:
    """Return one page of changes."""
    answer = client.get(f"{client.tasks}/changes", params={**query, **({"since": since} if since else {})})
    assert answer.status_code == 200, answer.text
    page: Json = answer.json()
    assert page.keys() == {"changes", "next", "has_more"}
    return page


def follow(client: Client, replica: dict[str, Json], since: str | None = None, limit: int = 500) -> str:
    """Apply all changes since a token to a copy of the list, and return the token after them."""
    while True:
        page = pull(client, since, limit=limit)
        apply(page, replica)
        since = str(page["next"])
        if not page["has_more"]:
            return since


def apply(page: Json, replica: dict[str, Json]) -> None:
    for change in page["changes"]:
        if change["op"] == "put":
            assert change.keys() == {"op", "task"}
            replica[change["task"]["id"]] = change["task"]
        else:
            assert change.keys() == {"op", "id", "version"}
            replica.pop(change["id"], None)


def newest_first(replica: dict[str, Json]) -> list[Json]:
    return sorted(replica.values(), key=lambda task: (task["created_at"], task["id"]), reverse=True)


class TestSyncToken:
    def test_a_write_that_changed_something_has_the_token_after_it(self, me: Client) -> None:
        task = made(me)
        writes: list[Write] = [
            lambda: me.post(me.tasks, json={"title": "Buy tea"}),
            lambda: me.post(me.tasks, json={"title": "Buy tea", "id": str(uuid4())}),
            lambda: me.put(one(me, task), json={"title": "Buy oat milk"}),
            lambda: me.patch(one(me, task) + "/complete"),
            lambda: batch(me, {"op": "create", "title": "a"}, {"op": "create", "title": "b"}),
            lambda: me.delete(one(me, task)),
        ]
        for write in writes:
            since = pull(me)["next"]
            answer = write()
            assert answer.is_success
            token = answer.headers["sync-token"]
            page = pull(me, since)
            assert (page["next"], page["has_more"]) == (token, False)
            versions = [
                change["task"]["version"] if "task" in change else change["version"] for change in page["changes"]
            ]
            assert versions
            assert token.rpartition("-") == (since.rpartition("-")[0], "-", str(versions[-1]))

    def test_no_other_answer_has_one(self, me: Client) -> None:
        task = me.put(one(me, made(me)), json={"is_completed": True}).json()
        since = pull(me)["next"]
        for answer in (
            me.get(me.tasks),
            me.get(one(me, task)),
            me.get(f"{me.tasks}/changes"),
            me.get(one(me, task), headers={"If-None-Match": "*"}),
            me.post(me.tasks, json={"title": task["title"], "id": task["id"]}),
            me.put(one(me, task), json={"title": task["title"], "is_completed": True}),
            me.patch(one(me, task) + "/complete"),
            batch(me, {"op": "complete", "id": task["id"]}),
            me.post(me.tasks, json={"title": ""}),
            me.post(me.tasks, json={"title": "other", "id": task["id"]}),
            me.put(one(me, task), json={"title": "x"}, headers={"If-Match": '"99"'}),
            me.delete(f"{me.tasks}/{uuid4()}"),
            batch(me, {"op": "create", "title": "x"}, {"op": "delete", "id": str(uuid4())}),
        ):
            assert "sync-token" not in answer.headers, answer.request
        assert pull(me, since) == {"changes": [], "next": since, "has_more": False}


class TestChanges:
    def test_a_user_who_has_never_written_has_none(self, me: Client) -> None:
        nothing = {"changes": [], "next": FIRST_TOKEN, "has_more": False}
        assert pull(me) == pull(me, FIRST_TOKEN) == nothing
        task = made(me)
        assert pull(me, FIRST_TOKEN)["changes"] == [{"op": "put", "task": task}]

    @pytest.mark.parametrize("limit", [1, 2, 3, 500])
    def test_pages_have_each_task_once_as_it_is_now_in_the_order_of_changes(self, me: Client, limit: int) -> None:
        tasks = [made(me, f"task {n}") for n in range(6)]
        me.patch(one(me, tasks[0]) + "/complete")
        me.delete(one(me, tasks[1]))
        since, found = None, []
        while True:
            page = pull(me, since, limit=limit)
            assert len(page["changes"]) == limit or not page["has_more"]
            found += page["changes"]
            since = page["next"]
            if not page["has_more"]:
                break
        assert found == [{"op": "put", "task": task} for task in sorted(listed(me), key=lambda task: task["version"])]
        assert since.endswith("-8")

    def test_after_a_token_there_are_only_later_changes_and_deletions(self, me: Client) -> None:
        kept, gone, brief = made(me), made(me), None
        since = pull(me)["next"]
        done = me.patch(one(me, kept) + "/complete").json()
        me.delete(one(me, gone))
        brief = made(me)
        me.delete(one(me, brief))
        assert pull(me, since)["changes"] == [
            {"op": "put", "task": done},
            {"op": "delete", "id": gone["id"], "version": 4},
            {"op": "delete", "id": brief["id"], "version": 6},
        ]
        assert pull(me)["changes"] == [{"op": "put", "task": done}]

    def test_a_copy_stays_equal_to_the_list_whatever_is_written_between_the_pages(self, me: Client) -> None:
        tasks = [made(me, f"task {n}") for n in range(9)]
        replica: dict[str, Json] = {}
        page = pull(me, limit=4)
        apply(page, replica)
        for task in (tasks[0], tasks[8]):  # one that was received, one that was not
            me.delete(one(me, task))
        for task in (tasks[1], tasks[7]):
            me.put(one(me, task), json={"title": "changed"})
        made(me, "new")
        token = follow(me, replica, page["next"], limit=2)
        assert newest_first(replica) == listed(me)
        me.delete(one(me, tasks[1]))
        follow(me, replica, token, limit=1)
        assert newest_first(replica) == listed(me)

    def test_a_token_of_another_history_or_of_the_future_has_expired(self, me: Client, other: Client) -> None:
        made(me), made(other)
        mine, theirs = pull(me)["next"], pull(other)["next"]
        epoch = mine.partition("-")[0]
        for token in (theirs, f"{epoch}-2", f"{epoch}-999999999999999999", f"{epoch}-0-2", "ffffffffffff-1"):
            answer = me.get(f"{me.tasks}/changes", params={"since": token})
            assert_problem(answer, "sync_token_expired")
        assert pull(me, mine)["changes"] == []

    @pytest.mark.parametrize("token", MALFORMED)
    def test_a_malformed_token_is_not_valid(self, me: Client, token: str) -> None:
        answer = me.get(f"{me.tasks}/changes?since={token}")
        assert_problem(answer, "validation_error", ("parameter", "since", "sync_token_malformed"))

    @pytest.mark.parametrize(
        ("query", "name", "code"),
        [
            ("limit=0", "limit", "limit_out_of_range"),
            ("limit=501", "limit", "limit_out_of_range"),
            ("limit=x", "limit", "invalid_value"),
            ("cursor=x", "cursor", "unknown_parameter"),
            ("since=a&since=a", "since", "repeated_parameter"),
            (f"since={'a' * 65}", "since", "invalid_value"),
        ],
    )
    def test_its_parameters_are_checked(self, me: Client, query: str, name: str, code: str) -> None:
        assert_problem(me.get(f"{me.tasks}/changes?{query}"), "validation_error", ("parameter", name, code))

    def test_they_are_for_their_owner(self, service: Service, me: Client, other: Client) -> None:
        made(other)
        assert_problem(me.get(f"{other.tasks}/changes"), "forbidden")
        assert_problem(raw(service, "GET", f"{me.tasks}/changes"), "token_missing")
        assert pull(me)["changes"] == []
