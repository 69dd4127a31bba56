"""Lists: pages, filters, and query parameters."""

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import httpx
import pytest

from tests.http.wire import assert_problem, listed, made, one, pages
from tests.services import Client, fill

BAD_CURSOR = ("parameter", "cursor", "invalid_value")


def finish(client: Client, task: dict[str, object]) -> dict[str, object]:
    done: dict[str, object] = client.patch(one(client, task) + "/complete").json()
    return done


class TestPages:
    def test_a_page_has_50_tasks_unless_up_to_500_are_asked_for(self, me: Client) -> None:
        with ThreadPoolExecutor(8) as threads:
            [*threads.map(lambda count: fill(me, count), [60] * 8 + [21])]
        all_tasks = listed(me, limit=500)
        assert len({task["id"] for task in all_tasks}) == 501
        assert sorted(task["version"] for task in all_tasks) == list(range(1, 502))
        assert [len(page) for page in pages(me, limit=500)] == [500, 1]
        assert [len(page) for page in pages(me)] == [50] * 10 + [1]
        assert [task["created_at"] for task in all_tasks] == sorted((t["created_at"] for t in all_tasks), reverse=True)

    @pytest.mark.parametrize("completed", [None, "true", "false"])
    def test_the_link_is_the_next_page_of_the_same_list(self, me: Client, completed: str | None) -> None:
        tasks = [made(me) for _ in range(8)]
        tasks = [finish(me, task) if n % 2 else task for n, task in enumerate(tasks)]
        wanted = [task for task in reversed(tasks) if completed in (None, str(task["is_completed"]).lower())]
        link: str | None = f"{me.tasks}?{urlencode({'limit': 2, **({'completed': completed} if completed else {})})}"
        found, walked = [], 0
        while link is not None:
            answer = me.get(link)
            found += answer.json()["tasks"]
            walked += 1
            link = answer.links.get("next", {}).get("url")
            assert (link is None) == (answer.json()["next_cursor"] is None)
            assert link is None or httpx.URL(link).params["cursor"] == answer.json()["next_cursor"]
        assert found == wanted
        assert walked == len(wanted) / 2

    def test_the_filter_reflects_every_change(self, me: Client) -> None:
        first, second = made(me, "first"), made(me, "second")
        done = finish(me, first)
        assert (listed(me, completed="true"), listed(me, completed="false")) == ([done], [second])
        reopened = me.put(one(me, first), json={"is_completed": False}).json()
        assert (listed(me, completed="true"), listed(me, completed="false")) == ([], [second, reopened])

    @pytest.mark.parametrize("limit", [1, 2, 5])
    @pytest.mark.parametrize("filter", [{}, {"completed": "false"}])
    def test_a_walk_during_changes_returns_every_undeleted_task_once(
        self, me: Client, limit: int, filter: dict[str, str]
    ) -> None:
        tasks = [made(me, f"task {n}") for n in range(15)]
        stayed = [task["id"] for n, task in enumerate(tasks) if n % 3]
        leaving = [task for n, task in enumerate(tasks) if not n % 3]
        seen: list[str] = []
        for page in pages(me, limit=limit, **filter):
            seen += [task["id"] for task in page]
            made(me, "added between pages")
            if leaving:  # from both ends: one that was seen and one that was not
                assert me.delete(one(me, leaving.pop())).status_code == 204
            if leaving:
                finish(me, leaving[0])
                assert me.delete(one(me, leaving.pop(0))).status_code == 204
            me.put(one(me, {"id": stayed[len(seen) % len(stayed)]}), json={"title": f"renamed after {len(seen)}"})
        assert len(seen) == len(set(seen))
        assert [each for each in seen if each in stayed] == stayed[::-1]

    def test_a_cursor_survives_the_deletion_of_the_task_it_ended_at(self, me: Client) -> None:
        oldest, middle, newest = made(me), made(me), made(me)
        page = me.get(me.tasks, params={"limit": 2}).json()
        for task in (middle, newest):
            me.delete(one(me, task))
        rest = me.get(me.tasks, params={"cursor": page["next_cursor"]}).json()
        assert rest == {"tasks": [oldest], "next_cursor": None}


class TestQuery:
    @pytest.mark.parametrize(
        "limit",
        [
            *["0", "-1", "501", "1000000000", "99999999999999999999999", "abc", "1e9", "1.5", "0x10", "NaN", "null"],
            *["", "%00", "%D9%A3"],
        ],
    )
    def test_a_limit_must_be_from_1_to_500(self, me: Client, limit: str) -> None:
        is_number = re.fullmatch("-?[0-9]{1,18}", limit)
        code = "limit_out_of_range" if is_number else "invalid_value"
        assert_problem(me.get(f"{me.tasks}?limit={limit}"), "validation_error", ("parameter", "limit", code))

    @pytest.mark.parametrize("limit", [1, 50, 500])
    def test_limits_from_1_to_500_are_accepted(self, me: Client, limit: int) -> None:
        task = made(me)
        assert me.get(me.tasks, params={"limit": limit}).json() == {"tasks": [task], "next_cursor": None}

    @pytest.mark.parametrize("completed", ["yes", "2", "maybe", "", "null", "[]", "true,false", "%00"])
    def test_completed_must_be_true_or_false(self, me: Client, completed: str) -> None:
        answer = me.get(f"{me.tasks}?completed={completed}")
        assert_problem(answer, "validation_error", ("parameter", "completed", "invalid_value"))

    @pytest.mark.parametrize("cursor", ["", "x", "null", "AAAA", "a" * 5000, "%C3%BC", "%00", "=", "MQ%3D%3D", "-1"])
    def test_a_malformed_cursor_is_rejected(self, me: Client, cursor: str) -> None:
        assert_problem(me.get(f"{me.tasks}?cursor={cursor}"), "validation_error", BAD_CURSOR)

    @pytest.mark.parametrize("query", ["&" * 3073, "limit=1" + "&" * 3066, "&" * 8000 + "limit=1"])
    def test_a_long_query_is_rejected(self, me: Client, query: str) -> None:
        answer = me.get(f"{me.tasks}?{query}")
        assert_problem(answer, "validation_error")
        assert answer.json()["detail"] == "The query is too long."

    def test_the_longest_query_is_accepted_with_each_character_encoded(self, me: Client) -> None:
        query = {"limit": "500", "completed": "false", "q": "\U0001f600" * 200}
        first, _ = made(me, query["q"]), made(me, query["q"])
        query["cursor"] = me.get(me.tasks, params={**query, "limit": 1}).json()["next_cursor"]
        encoded = ["=".join("".join(f"%{b:02x}" for b in text.encode()) for text in pair) for pair in query.items()]
        assert me.get(f"{me.tasks}?{'&'.join(encoded)}&&").json()["tasks"] == [first]

    @pytest.mark.parametrize(
        "query", ["Limit=1", "offset=1", "page=2", "limit[]=1", "complete=true", "=1", "x", "%FF=1", "a=&" * 2000]
    )
    def test_an_unknown_parameter_is_rejected(self, me: Client, query: str) -> None:
        answer = me.get(f"{me.tasks}?{query}")
        (error,) = answer.json()["errors"]
        assert_problem(answer, "validation_error", ("parameter", error["parameter"], "unknown_parameter"))
        assert query.startswith((error["parameter"], "%"))

    @pytest.mark.parametrize("name", ["limit", "cursor", "completed"])
    def test_a_repeated_parameter_is_rejected(self, me: Client, name: str) -> None:
        for value in {"limit": ["1", "2"], "cursor": ["x", "x"], "completed": ["true", "true"]}[name], ["", ""]:
            query = "&".join(f"{name}={each}" for each in value)
            is_form_valid = value[0] or name == "cursor"  # of one parameter, the form is checked before the repetition
            code = "repeated_parameter" if is_form_valid else "invalid_value"
            assert_problem(me.get(f"{me.tasks}?{query}"), "validation_error", ("parameter", name, code))

    @pytest.mark.parametrize(("method", "end"), [("GET", ""), ("PUT", ""), ("DELETE", ""), ("PATCH", "/complete")])
    def test_parameters_of_the_list_are_unknown_elsewhere(self, me: Client, method: str, end: str) -> None:
        task = made(me)
        body = {"title": "changed"} if method == "PUT" else None
        answer = me.request(method, f"{one(me, task)}{end}?limit=1", json=body)
        unknown = ("parameter", "limit", "unknown_parameter")
        assert_problem(answer, "validation_error", unknown)
        assert_problem(me.post(f"{me.tasks}?limit=1", json={"title": "x"}), "validation_error", unknown)
        assert listed(me) == [task]


class TestForeignCursors:
    def test_a_cursor_belongs_to_its_user_and_its_filter(self, me: Client, other: Client) -> None:
        lists: dict[tuple[Client, str | None], str] = {}
        for client in (me, other):
            for task in [made(client) for _ in range(4)][:2]:
                finish(client, task)
            for completed in (None, "true", "false"):
                query = {"completed": completed} if completed else {}
                lists[client, completed] = client.get(client.tasks, params={"limit": 1, **query}).json()["next_cursor"]
        for (client, completed), cursor in lists.items():
            for asker, wanted in lists:
                query = {"completed": wanted} if wanted else {}
                answer = asker.get(asker.tasks, params={"cursor": cursor, **query})
                if (asker, wanted) == (client, completed):
                    assert answer.status_code == 200
                else:
                    assert_problem(answer, "validation_error", BAD_CURSOR)

    def test_a_changed_cursor_is_rejected(self, me: Client) -> None:
        made(me), made(me)
        cursor = me.get(me.tasks, params={"limit": 1}).json()["next_cursor"]
        changed = [cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :] for n in range(len(cursor))]
        for wrong in (*changed, cursor[:-4], cursor + "AAAA", cursor * 2, f"{cursor[:8]}****{cursor[8:]}"):
            assert_problem(me.get(me.tasks, params={"cursor": wrong}), "validation_error", BAD_CURSOR)
