"""The six stories over HTTP."""

from datetime import datetime
from uuid import UUID

import pytest

from tests.fields import CHANGES, DRAFTS, NEW_TASK
from tests.http.wire import RFC3339, Json, assert_problem, listed, made, one
from tests.services import Client


def moment(text: str) -> datetime:
    assert RFC3339.fullmatch(text), text
    return datetime.fromisoformat(text)


def put(client: Client, task: Json, **change: object) -> Json:
    answer = client.put(one(client, task), json=change)
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == f'"{answer.json()["version"]}"'
    changed: Json = answer.json()
    return changed


class TestView:
    def test_the_list_is_exactly_my_tasks_newest_first(self, me: Client, other: Client) -> None:
        theirs = made(other, "theirs")
        mine = [made(me, title) for title in ("first", "second", "third")]
        answer = me.get(me.tasks)
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == "application/json"
        assert answer.json() == {"tasks": mine[::-1], "next_cursor": None}
        assert "link" not in answer.headers
        assert listed(other) == [theirs]

    def test_a_new_user_has_an_empty_list(self, me: Client) -> None:
        assert me.get(me.tasks).json() == {"tasks": [], "next_cursor": None}


class TestCreate:
    @pytest.mark.parametrize("draft", DRAFTS)
    def test_a_created_task_is_listed_at_once_as_open(self, me: Client, draft: Json) -> None:
        answer = me.post(me.tasks, json=draft)
        task = answer.json()
        assert answer.status_code == 201
        assert answer.headers["content-type"].partition(";")[0] == "application/json"
        assert UUID(task["id"]).version == 7
        assert moment(task["created_at"]) == moment(task["updated_at"])
        assert task == {
            **NEW_TASK,
            **draft,
            **{name: task[name] for name in ("id", "created_at")},
            "user_id": me.user,
            "updated_at": task["created_at"],
        }
        assert answer.headers["location"] == one(me, task)
        assert answer.headers["etag"] == '"1"'
        assert listed(me) == [task]

    def test_versions_count_the_writes_of_one_user(self, me: Client, other: Client) -> None:
        made(other)
        first, second = made(me), made(me)
        assert [first["version"], second["version"], put(me, first, title="Buy oat milk")["version"]] == [1, 2, 3]
        assert me.delete(one(me, second)).status_code == 204
        assert made(me)["version"] == 5

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("  Buy milk\t\n", "Buy milk"),
            ("\u3000\u00a0\u2028 Buy  milk \u2003", "Buy  milk"),
            (" " * 400 + "x" * 500 + " " * 400, "x" * 500),
            ("\U0001f600" * 500, "\U0001f600" * 500),
            ("'; DROP TABLE tasks; -- %s $1 \\ \" </script>", "'; DROP TABLE tasks; -- %s $1 \\ \" </script>"),
            ("e\u0301 \u200d \u05d0\ufeff", "e\u0301 \u200d \u05d0\ufeff"),
        ],
    )
    def test_the_title_is_stripped_and_otherwise_kept(self, me: Client, given: str, kept: str) -> None:
        task = made(me, given)
        assert task["title"] == kept
        assert put(me, made(me, "another"), title=given)["title"] == kept
        assert me.get(one(me, task)).json()["title"] == kept


class TestOneTask:
    def test_every_attribute_is_as_returned_at_creation(self, me: Client) -> None:
        created = me.post(me.tasks, json={"title": "Buy milk"})
        answer = me.get(created.headers["location"])
        assert answer.status_code == 200
        assert answer.json() == created.json()
        assert answer.headers["etag"] == created.headers["etag"]

    @pytest.mark.parametrize(
        "id", ["00000000-0000-0000-0000-000000000000", "0197f4a6-9d3c-7b1e-8f2a-3c5d7e9f1a2b", "x", "1", "%00", "%FF"]
    )
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
    def test_another_users_task_a_missing_one_and_an_impossible_id_are_the_same_404(
        self, me: Client, other: Client, method: str, id: str
    ) -> None:
        answers = []
        for missing in (made(other)["id"], id):
            path = f"{me.tasks}/{missing}" + ("/complete" if method == "PATCH" else "")
            answer = me.request(method, path, json={"title": "x"} if method == "PUT" else None)
            assert_problem(answer, "task_not_found")
            answers.append({**answer.json(), "instance": "", "request_id": ""})
        assert answers[0] == answers[1]

    def test_only_the_canonical_form_of_an_id_is_an_id(self, me: Client) -> None:
        task_id = made(me)["id"]
        assert me.get(f"{me.tasks}/{task_id.upper()}").status_code == 200
        for alias in (task_id.replace("-", ""), f"{{{task_id}}}", f"urn:uuid:{task_id}", f" {task_id}"):
            assert_problem(me.get(f"{me.tasks}/{alias}"), "task_not_found")


class TestUpdate:
    def test_omitted_fields_stay_and_updated_at_moves(self, me: Client) -> None:
        task = made(me)
        for change in CHANGES:
            changed = put(me, task, **change)
            assert moment(changed["updated_at"]) > moment(task["updated_at"])
            assert changed["version"] == task["version"] + 1
            derived = {name: changed[name] for name in ("completed_at", "updated_at", "version")}
            assert changed == {**task, **change, **derived}
            assert me.get(one(me, task)).json() == changed
            task = changed

    def test_completing_sets_completed_at_and_reopening_clears_it(self, me: Client) -> None:
        done = put(me, made(me), is_completed=True)
        assert moment(done["completed_at"]) == moment(done["updated_at"])
        renamed = put(me, done, title="Buy oat milk")
        assert renamed["completed_at"] == done["completed_at"]
        reopened = put(me, renamed, is_completed=False)
        assert (reopened["is_completed"], reopened["completed_at"]) == (False, None)
        again = put(me, reopened, is_completed=True)
        assert moment(again["completed_at"]) > moment(done["completed_at"])

    @pytest.mark.parametrize(
        "change", [{"title": "Buy milk"}, {"title": " Buy milk "}, {"is_completed": False}, {"is_completed": True}]
    )
    def test_a_change_without_effect_changes_nothing(self, me: Client, change: Json) -> None:
        task = made(me)
        if change.get("is_completed"):
            task = put(me, task, **change)
        assert put(me, task, **change) == task
        assert me.get(one(me, task)).json() == task


class TestComplete:
    def test_completing_again_changes_nothing(self, me: Client) -> None:
        task = made(me)
        first = me.patch(one(me, task) + "/complete")
        done = first.json()
        assert first.status_code == 200
        assert done == {
            **task,
            "is_completed": True,
            "completed_at": done["updated_at"],
            "updated_at": done["updated_at"],
            "version": 2,
        }
        assert moment(done["updated_at"]) > moment(task["updated_at"])
        again = me.patch(one(me, task) + "/complete")
        assert (again.status_code, again.json(), again.headers["etag"]) == (200, done, '"2"')
        assert listed(me) == [done]

    @pytest.mark.parametrize("body", [b"", b"{}", b"null", b"no JSON at all"])
    def test_no_body_is_needed_and_none_is_read(self, me: Client, body: bytes) -> None:
        answer = me.patch(one(me, made(me)) + "/complete", content=body)
        assert (answer.status_code, answer.json()["is_completed"]) == (200, True)


class TestDelete:
    def test_a_deleted_task_stays_deleted(self, me: Client) -> None:
        task, kept = made(me), made(me)
        answer = me.delete(one(me, task))
        assert (answer.status_code, answer.content) == (204, b"")
        for gone in (
            me.get(one(me, task)),
            me.put(one(me, task), json={"title": "Back"}),
            me.patch(one(me, task) + "/complete"),
            me.delete(one(me, task)),
            me.get(one(me, task)),
        ):
            assert_problem(gone, "task_not_found")
        assert listed(me) == [kept]
