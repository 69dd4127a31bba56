"""`Idempotency-Key`: of all requests with one key, one is carried out, and the others get its response."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.http.wire import JSON, Headers, Json, assert_problem, bearer, connected, listed, made, one, raw, statuses
from tests.services import Client, Service

OWN = {"x-request-id", "date", "ratelimit", "idempotency-replayed"}
"""The headers of each response itself, not of the outcome."""
WRITES = ["POST", "POST with an id", "PUT", "PATCH", "DELETE", "batch"]
each_write = pytest.mark.parametrize("name", WRITES)
Call = tuple[str, str, Json | None]


def call_of(name: str, client: Client, task: Json) -> Call:
    """Return method, path and body of a write that changes a task or makes another."""
    path = one(client, task)
    operations = [{"op": "delete", "id": task["id"]}, {"op": "create", "title": "Buy tea"}]
    calls: dict[str, Call] = {
        "POST": ("POST", client.tasks, {"title": "Buy tea"}),
        "POST with an id": ("POST", client.tasks, {"title": "Buy tea", "id": str(uuid4())}),
        "PUT": ("PUT", path, {"title": "Buy oat milk"}),
        "PATCH": ("PATCH", f"{path}/complete", None),
        "DELETE": ("DELETE", path, None),
        "batch": ("POST", f"{client.tasks}/batch", {"operations": operations}),
    }
    return calls[name]


def send(client: Client, call: Call, key: str = "k", **headers: str) -> httpx.Response:
    method, path, body = call
    return client.request(method, path, json=body, headers={"Idempotency-Key": key, **headers})


def outcome(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name not in OWN}
    return answer.status_code, headers, answer.content


def assert_replayed(answer: httpx.Response, first: httpx.Response) -> None:
    assert "idempotency-replayed" not in first.headers
    assert answer.headers["idempotency-replayed"] == "true"
    assert outcome(answer) == outcome(first)


@each_write
class TestReplay:
    def test_a_retry_gets_the_first_response_and_changes_nothing(self, me: Client, name: str) -> None:
        call = call_of(name, me, made(me))
        first = send(me, call)
        assert first.is_success
        assert first.headers["sync-token"]
        after = listed(me)
        for _ in range(2):
            assert_replayed(send(me, call), first)
        assert listed(me) == after
        changes = 2 if name == "batch" else 1
        assert made(me)["version"] == 2 + changes

    def test_also_after_the_task_has_changed_or_was_deleted(self, me: Client, name: str) -> None:
        task = made(me)
        call = call_of(name, me, task)
        first = send(me, call)
        for other in listed(me):
            me.put(one(me, other), json={"title": "changed", "is_completed": False})
        assert_replayed(send(me, call), first)
        for other in listed(me):
            me.delete(one(me, other))
        assert_replayed(send(me, call), first)
        assert listed(me) == []

    def test_of_concurrent_duplicates_one_is_carried_out(self, me: Client, name: str) -> None:
        task = made(me)
        call = call_of(name, me, task)
        with ThreadPoolExecutor(20) as threads:
            answers = [*threads.map(lambda _: send(me, call), range(20))]
        assert Counter("idempotency-replayed" in answer.headers for answer in answers) == {False: 1, True: 19}
        assert len({(*outcome(answer)[::2], answer.headers["sync-token"]) for answer in answers}) == 1
        assert made(me)["version"] == (4 if name == "batch" else 3)

    def test_the_keys_of_users_are_separate(self, me: Client, other: Client, name: str) -> None:
        for client in (me, other):
            answer = send(client, call_of(name, client, made(client)))
            assert answer.is_success
            assert "idempotency-replayed" not in answer.headers

    def test_the_same_key_for_another_request_is_rejected(self, me: Client, name: str) -> None:
        task, another = made(me), made(me)
        method, path, body = call = call_of(name, me, task)
        first = send(me, call)
        others: list[tuple[Call, dict[str, str]]] = [
            (call, {"If-Match": '"1"'}),
            (call, {"If-None-Match": '"99"'}),
            (call_of("DELETE" if method != "DELETE" else "PUT", me, another), {}),
            (call_of("PATCH" if method != "PATCH" else "PUT", me, task), {}),
        ]
        if task["id"] in path:
            others.append(((method, path.replace(task["id"], another["id"]), body), {}))
        if body:
            others.append(
                (
                    (
                        method,
                        path,
                        body | {"title": "x"} if "title" in body else {"operations": [{"op": "create", "title": "x"}]},
                    ),
                    {},
                )
            )
        after = listed(me)
        for wrong, headers in others:
            assert_problem(send(me, wrong, **headers), "idempotency_key_reused")
        assert listed(me) == after
        assert_replayed(send(me, call), first)


class TestPreconditions:
    @pytest.mark.parametrize(
        "headers",
        [
            {"If-Match": '"1"'},
            {"If-Match": '"1", "7"'},
            {"If-Match": "*"},
            {"If-None-Match": '"7"'},
            {"If-Match": "*", "If-None-Match": '"7", "8"'},
        ],
    )
    @pytest.mark.parametrize("name", ["PUT", "PATCH", "DELETE"])
    def test_a_retry_whose_precondition_no_longer_holds_is_replayed(
        self, me: Client, name: str, headers: dict[str, str]
    ) -> None:
        call = call_of(name, me, made(me))
        first = send(me, call, **headers)
        assert first.is_success
        assert_replayed(send(me, call, **headers), first)

    def test_a_batch_on_a_state_that_has_passed_is_replayed(self, me: Client) -> None:
        state = made(me) and me.get(f"{me.tasks}/changes").json()["next"]
        body = {"operations": [{"op": "create", "title": "x"}], "if_state": state}
        call = ("POST", f"{me.tasks}/batch", body)
        first = send(me, call)
        assert first.status_code == 200
        assert_replayed(send(me, call), first)
        assert_problem(send(me, call, "another"), "version_mismatch")


class TestOnlySuccesses:
    def test_a_failure_is_not_stored(self, me: Client) -> None:
        task_id = str(uuid4())
        put: Call = ("PUT", f"{me.tasks}/{task_id}", {"title": "Buy tea"})
        assert_problem(
            send(me, ("POST", me.tasks, {"title": ""})), "validation_error", ("pointer", "/title", "title_empty")
        )
        assert_problem(send(me, put), "task_not_found")
        me.post(me.tasks, json={"title": "Buy milk", "id": task_id})
        assert_problem(send(me, put, **{"If-Match": '"7"'}), "version_mismatch", current_version=1)
        batch = ("POST", f"{me.tasks}/batch", {"operations": [{"op": "delete", "id": str(uuid4())}]})
        assert send(me, batch).status_code == 404
        first = send(me, put)
        assert (first.status_code, first.json()["version"]) == (200, 2)
        assert_replayed(send(me, put), first)

    def test_a_write_without_effect_is_a_success(self, me: Client) -> None:
        task = made(me)
        done = me.patch(one(me, task) + "/complete").json()
        for name, body in (
            ("PATCH", None),
            ("PUT", {"title": "Buy milk"}),
            ("POST", {"title": "Buy milk", "id": task["id"]}),
        ):
            path = {"PATCH": one(me, task) + "/complete", "PUT": one(me, task), "POST": me.tasks}[name]
            first = send(me, (name, path, body), name)
            assert (first.status_code, first.json(), "sync-token" in first.headers) == (200, done, False)
        me.put(one(me, task), json={"is_completed": False})
        again = send(me, ("PATCH", one(me, task) + "/complete", None), "PATCH")
        assert (again.json(), again.headers["idempotency-replayed"]) == (done, "true")
        assert me.get(one(me, task)).json()["is_completed"] is False


class TestKeys:
    @pytest.mark.parametrize(
        ("bare", "quoted"),
        [
            ("k", '"k"'),
            ("a b", '"a b"'),
            ('a"b', r'"a\"b"'),
            (r"a\b", r'"a\\b"'),
            ("x" * 255, f'"{"x" * 255}"'),
            ("\\" * 255, f'"{chr(92) * 510}"'),
        ],
    )
    def test_a_key_may_be_quoted_or_bare(self, me: Client, bare: str, quoted: str) -> None:
        call: Call = ("POST", me.tasks, {"title": "Buy milk"})
        first = send(me, call, bare)
        assert_replayed(send(me, call, quoted), first)
        assert "idempotency-replayed" not in send(me, call, f"2{bare[1:]}").headers
        assert len(listed(me)) == 2

    @pytest.mark.parametrize(
        ("key", "code"),
        [
            *((key, "idempotency_key_empty") for key in ("", '""')),
            *((key, "idempotency_key_too_long") for key in ("x" * 256, f'"{"x" * 256}"')),
            *((key, "invalid_value") for key in ('"', '"a', '"a"b"', r'"a\b"', r'"a\"', '"a"; x=1', '"a", "a"')),
            *((key, "idempotency_key_control_character") for key in (b"a\x85b", b"a\tb")),
        ],
    )
    @each_write
    def test_a_malformed_one_is_not_valid(
        self, service: Service, me: Client, name: str, key: str | bytes, code: str
    ) -> None:
        task = made(me)
        method, path, body = call_of(name, me, task)
        headers: Headers = [bearer(me), ("Idempotency-Key", key), *JSON.items()]
        answer = raw(service, method, path, headers, json.dumps(body).encode() if body else None)
        assert_problem(answer, "validation_error", ("parameter", "Idempotency-Key", code))
        assert listed(me) == [task]

    @pytest.mark.parametrize("byte", [b"\x00", b"\r", b"\n"])
    def test_what_ends_a_header_is_no_key(self, service: Service, me: Client, byte: bytes) -> None:
        lines = [f"POST {me.tasks} HTTP/1.1", "Host: x", ": ".join(bearer(me)), "Content-Type: application/json"]
        head = "\r\n".join([*lines, "Content-Length: 13", "Idempotency-Key: a"]).encode()
        with connected(service) as connection:
            connection.sendall(head + byte + b'b\r\n\r\n{"title":"x"}')
            assert statuses(connection, 1)[0] == 400
        assert listed(me) == []

    def test_the_body_is_compared_byte_for_byte(self, me: Client) -> None:
        answers = [
            me.post(me.tasks, content=body, headers={**JSON, "Idempotency-Key": "k"})
            for body in (b'{"title": "x"}', b'{"title":"x"}', b'{"title": "x"}')
        ]
        assert [answer.status_code for answer in answers] == [201, 422, 201]
        assert_replayed(answers[2], answers[0])

    def test_a_key_does_nothing_for_a_read(self, me: Client) -> None:
        headers: dict[str, Any] = {"Idempotency-Key": "k"}
        assert me.get(me.tasks, headers=headers).json()["tasks"] == []
        made(me)
        answer = me.get(me.tasks, headers=headers)
        assert len(answer.json()["tasks"]) == 1
        assert "idempotency-replayed" not in answer.headers
