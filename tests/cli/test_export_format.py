"""The format of exported files: what is written, and which line is at fault in what is read."""

import json
from dataclasses import fields
from datetime import UTC, datetime
from io import BytesIO
from uuid import UUID

import pytest

from domain import Task
from entrypoints.cli.export_format import MAX_LINE_BYTES, BadLine, End, Header, encoded, read_tasks
from tests.fields import REJECTED

NOW = datetime(2026, 1, 31, 9, 30, 0, 123456, UTC)
DONE = Task(
    id=UUID(int=7), user_id="ada", title='Kä\u2028"se', created_at=NOW, updated_at=NOW, completed_at=NOW, version=9
)
OPEN = Task(id=UUID(int=8), user_id="ada", title="x", created_at=NOW, updated_at=NOW, version=3)
HEADER, END = encoded(Header(user_id="ada", exported_at=NOW)), encoded(End(tasks=2))
FILE = [HEADER, encoded(DONE), encoded(OPEN), END]


def read(*lines: bytes, user_id: str = "ada") -> list[Task]:
    return [task for _, task in read_tasks(BytesIO(b"".join(lines)), user_id=user_id)]


def altered(**values: object) -> bytes:
    return json.dumps(json.loads(encoded(OPEN)) | values).encode() + b"\n"


def test_what_is_documented_is_written() -> None:
    exported = [field for field in fields(Task) if field.name not in ("user_id", "version")]

    def line(given: dict[str, object]) -> str:
        values = {field.name: given.get(field.name, field.default) for field in exported}
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))

    now = "2026-01-31T09:30:00.123456Z"
    times: dict[str, object] = {"created_at": now, "updated_at": now}
    assert b"".join(FILE).decode().split("\n") == [
        '{"hextasks_export":1,"user_id":"ada","exported_at":"2026-01-31T09:30:00.123456Z"}',
        line({"id": "00000000-0000-0000-0000-000000000007", "title": 'Kä\u2028"se', **times, "completed_at": now}),
        line({"id": "00000000-0000-0000-0000-000000000008", "title": "x", **times}),
        '{"end":"hextasks_export","tasks":2}',
        "",
    ]


def test_what_is_written_is_read_as_the_tasks_of_a_user() -> None:
    assert read(*FILE) == [DONE.stored(0), OPEN.stored(0)]
    assert {task.user_id for task in read(*FILE, user_id="grace")} == {"grace"}
    assert read(HEADER, encoded(End(tasks=0))) == []
    assert read(HEADER, FILE[2].replace(b',"completed_at":null', b""), encoded(End(tasks=1))) == [OPEN.stored(0)]


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([], "line 1 is missing"),
        ([HEADER], "line 2 is missing: the file is incomplete, it has 0 tasks and no end"),
        (FILE[:3], "line 4 is missing"),
        ([*FILE[:2], encoded(OPEN)[:-40]], "line 3: "),
        ([*FILE[:2], END], "line 3: the file should have 2 tasks, but it has 1"),
        ([*FILE, encoded(OPEN)], "line 5: it comes after the end"),
        ([*FILE[:3], b"\n", END], "line 4: "),
        (FILE[1:], "line 1: this is not a file of hextasks export"),
        ([b"[1]\n"], "line 1: this is not a file of hextasks export"),
        ([HEADER.replace(b":1,", b":2,"), b"?"], "line 1: the file has a newer format"),
        ([HEADER, b'"' + b"x" * MAX_LINE_BYTES + b'"\n'], "line 2: it has more than 65536 bytes"),
        ([HEADER, b"\xff\n"], "line 2: "),
        ([HEADER[:-2] + b',"x":' + b"[" * 30_000 + b"\n"], "line 1: maximum recursion depth"),
        ([HEADER, altered(**{"x" * 60_000: 1})], "line 2: Object contains unknown field `x{100,200}$"),
        ([HEADER, altered(id="7")], "line 2: .*id"),
        ([HEADER, altered(version=1)], "line 2: .*version"),
        ([HEADER, altered(created_at="2026-01-31T09:30:00")], "line 2: Times must be aware and in UTC"),
        ([HEADER, altered(created_at="0001-01-01T00:00:00Z")], "line 2: Times must be in the years 2 to 9998"),
        ([HEADER, altered(updated_at="9999-12-31T23:59:59.999999Z")], "line 2: Times must be in the years 2 to 9998"),
        ([HEADER, altered(created_at="2027-01-31T09:30:00Z")], "line 2: The creation must not come after"),
        *(([HEADER, altered(**{field: value})], "line 2: ") for field, value, _ in REJECTED if field != "user_id"),
    ],
)
def test_a_line_at_fault_is_named(lines: list[bytes], error: str) -> None:
    with pytest.raises(BadLine, match=rf"^{error}"):
        read(*lines)


def test_a_file_that_cannot_be_read_is_a_line_at_fault() -> None:
    class Broken(BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(BadLine, match="line 1 cannot be read: Input/output error"):
        next(read_tasks(Broken(), user_id="ada"))
