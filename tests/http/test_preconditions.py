"""Conditional requests with If-Match and If-None-Match."""

import json
import time

import httpx
import pytest

from tests.http.wire import JSON, Headers, Json, assert_problem, bearer, in_memory, listed, made, one, raw, some_id
from tests.services import Client, Service, running_service

WRITES = [("PUT", "", {"title": "changed"}), ("PATCH", "/complete", None), ("DELETE", "", None)]
SUCCESS = {"PUT": 200, "PATCH": 200, "DELETE": 204}
each_write = pytest.mark.parametrize(("method", "end", "body"), WRITES, ids=["PUT", "PATCH", "DELETE"])
Body = dict[str, str] | None


def write(client: Client, method: str, path: str, body: Body, if_match: str) -> httpx.Response:
    return client.request(method, path, json=body, headers={"If-Match": if_match})


def renamed(client: Client) -> Json:
    """Return a task that is at version 2 by now."""
    task: Json = client.put(one(client, made(client, "first")), json={"title": "second"}).json()
    assert task["version"] == 2
    return task


@each_write
class TestIfMatch:
    @pytest.mark.parametrize("if_match", ['"2"', "*", '"1", "2"', '"2",W/"1" ,"a,b"', ',"2",,'])
    def test_a_write_on_the_current_version_succeeds(
        self, me: Client, method: str, end: str, body: Body, if_match: str
    ) -> None:
        task = renamed(me)
        assert write(me, method, one(me, task) + end, body, if_match).status_code == SUCCESS[method]
        assert listed(me) != [task]

    @pytest.mark.parametrize(
        "if_match",
        [
            '"1"',
            '"3"',
            'W/"2"',
            '"1", "3"',
            '"1,2"',
            'W/"2", "3"',
            '"02"',
            '"+2"',
            '""',
            '"x"',
            '"-2"',
            '"9223372036854775808"',
            '"' + "9" * 500 + '"',
        ],
    )
    def test_a_write_on_another_version_is_rejected(
        self, me: Client, method: str, end: str, body: Body, if_match: str
    ) -> None:
        task = renamed(me)
        assert_problem(write(me, method, one(me, task) + end, body, if_match), "version_mismatch", current_version=2)
        assert listed(me) == [task]

    @pytest.mark.parametrize(
        "if_match", ["2", "", ",", "garbage", '"2', '2"', "w/2", '"2" x', "**", '"2", *', '"2" "2"']
    )
    @in_memory
    def test_a_malformed_entity_tag_is_not_valid(
        self, me: Client, method: str, end: str, body: Body, if_match: str
    ) -> None:
        task = renamed(me)
        answer = write(me, method, one(me, task) + end, body, if_match)
        assert_problem(answer, "validation_error", ("parameter", "If-Match", "invalid_value"))
        assert listed(me) == [task]

    @pytest.mark.parametrize(("if_match", "is_valid"), [(b' "2" \t', True), (b'\xa0"2"', False), (b'"2"\x85', False)])
    @in_memory
    def test_white_space_around_a_tag_is_ignored(
        self, service: Service, me: Client, method: str, end: str, body: Body, if_match: bytes, is_valid: bool
    ) -> None:
        task = renamed(me)
        headers: Headers = [bearer(me), ("If-Match", if_match), *JSON.items()]
        answer = raw(service, method, one(me, task) + end, headers, json.dumps(body).encode())
        assert answer.status_code == (SUCCESS[method] if is_valid else 400)
        assert (listed(me) == [task]) is not is_valid

    @pytest.mark.parametrize("if_match", ['"1"', "*", '"1", "2"'])
    def test_a_conditional_write_of_a_missing_task_is_not_found(
        self, me: Client, method: str, end: str, body: Body, if_match: str
    ) -> None:
        assert_problem(write(me, method, f"{me.tasks}/{some_id()}{end}", body, if_match), "task_not_found")

    def test_a_stale_write_without_effect_is_rejected_too(self, me: Client, method: str, end: str, body: Body) -> None:
        task = renamed(me)
        done = me.put(one(me, task), json={"title": "changed", "is_completed": True}).json()
        assert_problem(write(me, method, one(me, task) + end, body, '"2"'), "version_mismatch", current_version=3)
        assert listed(me) == [done]

    @pytest.mark.parametrize(
        ("lines", "status"), [(['"1"', '"2"'], 200), (['"2"', '"1"'], 200), (['"1"', '"3"'], 412), (["*", '"2"'], 400)]
    )
    @in_memory
    def test_all_lines_count(
        self, service: Service, me: Client, method: str, end: str, body: Body, lines: list[str], status: int
    ) -> None:
        task = renamed(me)
        headers: Headers = [bearer(me), *(("If-Match", line) for line in lines), *JSON.items()]
        answer = raw(service, method, one(me, task) + end, headers, json.dumps(body).encode())
        assert answer.status_code == (SUCCESS[method] if status == 200 else status)

    @pytest.mark.parametrize(("name", "last"), [("If-Match", '"1"'), ("If-None-Match", '"2"')])
    @pytest.mark.parametrize("many", [100, 101, 5_000])
    @in_memory
    def test_the_number_of_tags_is_bounded(
        self, me: Client, method: str, end: str, body: Body, name: str, last: str, many: int
    ) -> None:
        task = renamed(me)
        answer = me.request(method, one(me, task) + end, json=body, headers={name: '"",' * (many - 1) + last})
        if many > 100:
            assert_problem(answer, "validation_error", ("parameter", name, "invalid_value"))
        else:
            assert_problem(answer, "version_mismatch", current_version=2)
        assert listed(me) == [task]


@each_write
class TestIfNoneMatchOfWrites:
    @pytest.mark.parametrize("tag", ["*", '"2"', 'W/"2"', '"1", "2"'])
    def test_a_write_is_rejected_on_a_version_it_names(
        self, me: Client, method: str, end: str, body: Body, tag: str
    ) -> None:
        task = renamed(me)
        headers = {"If-None-Match": tag}
        assert_problem(
            me.request(method, one(me, task) + end, json=body, headers=headers), "version_mismatch", current_version=2
        )
        assert listed(me) == [task]

    @pytest.mark.parametrize(("tag", "if_match"), [('"1"', None), ('"1", W/"3"', '"2"'), ('"x"', "*")])
    def test_a_write_on_another_version_succeeds(
        self, me: Client, method: str, end: str, body: Body, tag: str, if_match: str | None
    ) -> None:
        task = renamed(me)
        headers = {"If-None-Match": tag} | ({"If-Match": if_match} if if_match else {})
        assert me.request(method, one(me, task) + end, json=body, headers=headers).status_code == SUCCESS[method]
        assert listed(me) != [task]

    @pytest.mark.parametrize("tag", ["*", '"1"'])
    def test_no_task_is_created(self, me: Client, method: str, end: str, body: Body, tag: str) -> None:
        path = f"{me.tasks}/{some_id()}{end}"
        assert_problem(me.request(method, path, json=body, headers={"If-None-Match": tag}), "task_not_found")

    @in_memory
    def test_a_malformed_entity_tag_is_not_valid(self, me: Client, method: str, end: str, body: Body) -> None:
        path = one(me, renamed(me)) + end
        answer = me.request(method, path, json=body, headers={"If-None-Match": "garbage"})
        assert_problem(answer, "validation_error", ("parameter", "If-None-Match", "invalid_value"))


class TestIfNoneMatch:
    @in_memory
    def test_all_lines_count(self, service: Service, me: Client) -> None:
        path = one(me, renamed(me))
        headers = [bearer(me), ("If-None-Match", '"1"'), ("If-None-Match", '"2"')]
        assert raw(service, "GET", path, headers).status_code == 304

    @in_memory
    def test_the_number_of_tags_is_bounded(self, me: Client) -> None:
        path = one(me, renamed(me))
        assert me.get(path, headers={"If-None-Match": '"",' * 99 + '"2"'}).status_code == 304
        for many in (100, 5_000):
            answer = me.get(path, headers={"If-None-Match": '"",' * many + '"2"'})
            assert_problem(answer, "validation_error", ("parameter", "If-None-Match", "invalid_value"))

    @in_memory
    def test_the_number_of_empty_elements_is_bounded(self, me: Client) -> None:
        path = one(me, renamed(me))
        assert me.get(path, headers={"If-None-Match": "," * 99 + '"2"'}).status_code == 304
        for given in ("," * 30_000, "," * 300 + '"2"'):
            answer = me.get(path, headers={"If-None-Match": given})
            assert_problem(answer, "validation_error", ("parameter", "If-None-Match", "invalid_value"))
            assert me.get(me.tasks, headers={"If-None-Match": given}).status_code == 400
            assert me.delete(path, headers={"If-Match": given}).status_code == 400

    @in_memory
    def test_white_space_is_read_in_linear_time(self, me: Client) -> None:
        path, began = one(me, renamed(me)), time.process_time()  # of the service, too
        assert me.get(path, headers={"If-None-Match": '"2",' + " " * 32_000 + "x"}).status_code == 200
        assert time.process_time() - began < 2  # in quadratic time, 8 seconds

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("tag", ['"2"', 'W/"2"', "*", '"1", "2"', '"x",W/"2"'])
    def test_the_current_version_is_not_sent_again(self, me: Client, method: str, tag: str) -> None:
        answer = me.request(method, one(me, renamed(me)), headers={"If-None-Match": tag})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"2"')

    @pytest.mark.parametrize("tag", ['"1"', 'W/"1"', '"1", "3"', '"22"', '""', "", "2", "garbage", "**", 'x"2"'])
    def test_another_tag_gets_the_task(self, me: Client, tag: str) -> None:
        task = renamed(me)
        answer = me.get(one(me, task), headers={"If-None-Match": tag})
        assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, task, '"2"')

    def test_a_missing_task_is_not_found(self, me: Client) -> None:
        assert_problem(me.get(f"{me.tasks}/{some_id()}", headers={"If-None-Match": "*"}), "task_not_found")


@each_write
def test_if_match_may_be_required_of_what_overwrites(method: str, end: str, body: Body) -> None:
    with running_service(DATABASE_URL="memory://", REQUIRE_IF_MATCH="true") as service, service.client() as me:
        task = made(me)
        path = one(me, task) + end
        if method == "PATCH":
            assert me.patch(path).status_code == 200
            return
        for headers in ({}, {"If-None-Match": '"7"'}, {"Idempotency-Key": "k"}):
            assert_problem(me.request(method, path, json=body, headers=headers), "precondition_required")
        assert_problem(me.request(method, f"{me.tasks}/{some_id()}", json=body), "precondition_required")
        if body:
            wrong = me.request(method, path, json={"title": ""})
            assert_problem(wrong, "validation_error", ("pointer", "/title", "title_empty"))
        assert listed(me) == [task]
        for version in ('"7"', '"1"'):
            answer = me.request(method, path, json=body, headers={"If-Match": version})
            assert answer.status_code == (412 if version == '"7"' else SUCCESS[method])
        assert made(me)["version"] == 3
