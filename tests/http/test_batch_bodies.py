"""Bodies of batches: their form, their size, and what hostile ones cost."""

import json
import time
from typing import Any
from uuid import uuid4

import pytest

from tests.http.test_batch import CREATE, batch
from tests.http.wire import JSON, STATUS, assert_problem, listed
from tests.services import Client

LIMIT = 262_144
ID = "0197f4a6-9d3c-7b1e-8f2a-3c5d7e9f1a2b"


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"operations": []}, "/operations", "invalid_value"),
        ({"operations": [CREATE] * 101}, "/operations", "invalid_value"),
        ({}, "", "missing_field"),
        ({"if_state": "x"}, "", "missing_field"),
        ([], "", "wrong_type"),
        ({"operations": {}}, "/operations", "wrong_type"),
        ({"operations": [None]}, "/operations/0", "wrong_type"),
        ({"operations": [{}]}, "/operations/0", "missing_field"),
        ({"operations": [{"op": "replace", "id": ID}]}, "/operations/0/op", "invalid_value"),
        ({"operations": [{"op": 1}]}, "/operations/0/op", "wrong_type"),
        ({"operations": [CREATE, {"op": "create"}]}, "/operations/1", "missing_field"),
        ({"operations": [{"op": "create", "title": None}]}, "/operations/0/title", "wrong_type"),
        ({"operations": [{"op": "create", "title": "x", "if_version": 1}]}, "/operations/0", "unknown_field"),
        ({"operations": [{"op": "create", "title": "x", "id": "x"}]}, "/operations/0/id", "invalid_value"),
        ({"operations": [{"op": "update", "id": ID}]}, "/operations/0", "missing_field"),
        ({"operations": [{"op": "update", "title": "x"}]}, "/operations/0", "missing_field"),
        ({"operations": [{"op": "update", "id": ID, "is_completed": 1}]}, "/operations/0/is_completed", "wrong_type"),
        ({"operations": [{"op": "complete"}]}, "/operations/0", "missing_field"),
        ({"operations": [{"op": "complete", "id": ID, "title": "x"}]}, "/operations/0", "unknown_field"),
        ({"operations": [{"op": "delete", "id": "x"}]}, "/operations/0/id", "invalid_value"),
        ({"operations": [{"op": "delete", "id": ID, "if_version": 0}]}, "/operations/0/if_version", "invalid_value"),
        ({"operations": [{"op": "delete", "id": ID, "if_version": "1"}]}, "/operations/0/if_version", "wrong_type"),
        ({"operations": [{"op": "delete", "id": ID, "user_id": "x"}]}, "/operations/0", "unknown_field"),
        ({"operations": [CREATE], "if_state": None}, "/if_state", "wrong_type"),
        ({"operations": [CREATE], "if_state": "x"}, "/if_state", "sync_token_malformed"),
        ({"operations": [CREATE], "atomic": False}, "", "unknown_field"),
    ],
)
def test_a_body_of_another_form_is_not_valid(me: Client, body: Any, pointer: str, code: str) -> None:
    assert_problem(me.post(f"{me.tasks}/batch", json=body), "validation_error", ("pointer", pointer, code))
    assert listed(me) == []


class TestHostile:
    def sized(self, size: int) -> bytes:
        body = json.dumps({"operations": [CREATE]}).encode()
        return body + b" " * (size - len(body))

    @pytest.mark.parametrize("chunked", [False, True])
    def test_256_kib_are_accepted_and_no_more(self, me: Client, chunked: bool) -> None:
        for size in (65_537, LIMIT, LIMIT + 1, 10 * LIMIT):
            body = self.sized(size)
            answer = me.post(f"{me.tasks}/batch", content=iter([body]) if chunked else body, headers=JSON)
            if size <= LIMIT:
                assert answer.status_code == 200, answer.text
            else:
                assert_problem(answer, "body_too_large")
        assert len(listed(me)) == 2
        assert_problem(me.post(me.tasks, content=self.sized(65_537), headers=JSON), "body_too_large")

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b'{"operations": ' + b"[" * 250_000, "validation_error"),
            (b'{"operations": [' + b'{"op": "create", "title": ' * 9_000, "validation_error"),
            (b"[" * 250_000, "validation_error"),
            (b'{"x": ' * 40_000, "validation_error"),
            (b'{"operations": [' + b'{"op": "complete"},' * 13_000 + b"{}]}", "validation_error"),
            (b'{"operations": [' + b"1," * 100_000 + b"1]}", "validation_error"),
            (json.dumps({"operations": [{"op": "create", "title": "x" * 2_500}] * 100}).encode(), "validation_error"),
            (json.dumps({"operations": [{"op": "create", "title": "\u0390" * 500}] * 100}).encode(), "body_too_large"),
            (b'{"operations": [{"op": "create", "title": "a", "title": "b"}]}', "malformed_json"),
            (
                b'{"operations": [{"op": "create", "title": "a"}], "operations": [{"op": "create", "title": "b"}]}',
                "malformed_json",
            ),
            (b'{"operations": [{"op": "create", "op": "create", "title": "a"}]}', "malformed_json"),
            (b'{"operations": [{"op": "create", "title": "\\ud800"}]}', "malformed_json"),
            (b'{"operations": [{"op": "create", "title": "a"}', "malformed_json"),
        ],
        ids=range(13),
    )
    def test_a_hostile_body_costs_little(self, me: Client, body: bytes, code: str) -> None:
        began = time.process_time()  # of the service, too
        answer = me.post(f"{me.tasks}/batch", content=body, headers=JSON)
        assert time.process_time() - began < 1
        assert (answer.status_code, answer.json()["code"]) == (STATUS[code], code), answer.text[:500]
        assert len(answer.content) < 20_000
        assert listed(me) == []

    def test_the_most_that_fits_is_stored(self, me: Client) -> None:
        title = "\u0390" * 500  # three characters each when case is folded, two bytes each in UTF-8
        body = json.dumps({"operations": [{"op": "create", "title": title}] * 100}, ensure_ascii=False).encode()
        assert len(body) < LIMIT
        answer = me.post(f"{me.tasks}/batch", content=body, headers={**JSON, "Idempotency-Key": "k"})
        assert answer.status_code == 200
        assert {result["task"]["title"] for result in answer.json()["results"]} == {title}
        again = me.post(f"{me.tasks}/batch", content=body, headers={**JSON, "Idempotency-Key": "k"})
        assert (again.content, again.headers["idempotency-replayed"]) == (answer.content, "true")

    def test_another_users_batch_is_forbidden(self, me: Client, other: Client) -> None:
        answer = me.post(f"{other.tasks}/batch", json={"operations": [CREATE]})
        assert_problem(answer, "forbidden")
        assert listed(other) == []

    def test_the_same_id_of_another_user_is_not_touched(self, me: Client, other: Client) -> None:
        task_id = str(uuid4())
        theirs = batch(other, {**CREATE, "id": task_id}).json()["results"][0]["task"]
        batch(me, {**CREATE, "id": task_id})
        assert batch(me, {"op": "update", "id": task_id, "title": "mine"}).status_code == 200
        assert batch(me, {"op": "delete", "id": task_id}).status_code == 200
        assert (listed(me), listed(other)) == ([], [theirs])
