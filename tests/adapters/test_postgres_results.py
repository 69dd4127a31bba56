"""The stored outcome of an idempotency key is read by the releases before and after the one that stored it."""

import json

from adapters.postgres.apply_statement import decode_result, encode_result
from application import Write
from hextasks.testing.contract.calls import a_task

WRITES = [Write(kind="add", task=a_task())]
[ROW] = json.loads(encode_result(WRITES))
OF_0_1 = ("kind", "id", "user_id", "title", "created_at", "updated_at", "completed_at", "version")


def test_one_of_the_first_release_is_read() -> None:
    written = {"kind": "add"} | {name: getattr(WRITES[0].task, name) for name in OF_0_1[1:]}
    times = {name: written[name].isoformat() for name in ("created_at", "updated_at")}
    stored = [*(written | times | {"id": str(written["id"])}).values()]
    assert ROW[: len(stored)] == stored, "a new field goes last"
    assert decode_result(json.dumps([stored])) == WRITES


def test_one_of_a_later_release_is_read_without_the_fields_that_are_unknown() -> None:
    assert decode_result(json.dumps([[*ROW, "of a later field"]])) == WRITES
