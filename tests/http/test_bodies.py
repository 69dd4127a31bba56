"""Request bodies: which are accepted, which are rejected, and with which problem."""

from collections.abc import Iterator

import pytest

from tests.http.wire import JSON, Place, assert_problem, in_memory, listed, made, one
from tests.services import Client

LIMIT = 65_536
TITLE = ("pointer", "/title")
WHOLE = ("pointer", "")
BIG = b"9" * 60_000


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b" ",
        b"\x00",
        b"{'title': 'x'}",
        b'{"title": "x",}',
        b'{"title": "x"} y',
        b'{"title": "x"}{"title": "x"}',
        b'{"title": "a\nb"}',
        b'{"title": "a\x00b"}',
        b'{"title": NaN}',
        b'{"title": -Infinity}',
        b'{"title": 007}',
        b'{"title": "\\x41"}',
        b'{"title": "\xff"}',
        b'{"title": "\xc0\x80"}',
        b'{"title": "\xed\xa0\x80"}',
        b'{"title": "cut',
        b'\xef\xbb\xbf{"title": "x"}',
        '{"title": "x"}'.encode("utf-16"),
    ],
)
@in_memory
def test_a_body_that_is_not_json_in_utf_8_is_malformed(place: Place, body: bytes) -> None:
    place.refuses(body, "malformed_json")


@pytest.mark.parametrize(
    ("body", "where", "code"),
    [
        (b"", WHOLE, "missing_body"),
        (b"null", WHOLE, "wrong_type"),
        (b"{}", WHOLE, "missing_field"),
        (b"[]", WHOLE, "wrong_type"),
        (b'["title"]', WHOLE, "wrong_type"),
        (b'"title"', WHOLE, "wrong_type"),
        (b"7", WHOLE, "wrong_type"),
        (b"true", WHOLE, "wrong_type"),
        (b"[" * 60_000, WHOLE, "wrong_type"),
        (b'{"title": ' + b"[" * 60_000, TITLE, "wrong_type"),
        (b'{"title": null}', TITLE, "wrong_type"),
        (b'{"title": 1}', TITLE, "wrong_type"),
        (b'{"title": 1e999}', TITLE, "invalid_value"),
        (b'{"title": ' + BIG + b"}", TITLE, "invalid_value"),
        (b'{"title": true}', TITLE, "wrong_type"),
        (b'{"title": ["x"]}', TITLE, "wrong_type"),
        (b'{"title": {"text": "x"}}', TITLE, "wrong_type"),
        (b'{"title":' * 7_000, TITLE, "wrong_type"),
        (b'{"unknown": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", WHOLE, "unknown_field"),
        (b'{"unknown": 1e999, "title": "x"}', WHOLE, "unknown_field"),
        (b'{"title": "x", "unknown": 1}', WHOLE, "unknown_field"),
        (b'{"title": "x", "created_at": "2026-01-31T09:30:00Z"}', WHOLE, "unknown_field"),
        (b'{"title": "x", "user_id": "somebody"}', WHOLE, "unknown_field"),
        (b'{"title": "x", "version": 1}', WHOLE, "unknown_field"),
        (b'{"Title": "x"}', WHOLE, "unknown_field"),
        (b'{"": "x"}', WHOLE, "unknown_field"),
    ],
)
@in_memory
def test_json_of_another_type_is_not_valid(place: Place, body: bytes, where: tuple[str, str], code: str) -> None:
    place.refuses(body, "validation_error", (*where, code))


@pytest.mark.parametrize(
    ("value", "code"), [("nonsense", "invalid_value"), ("", "invalid_value"), (None, "wrong_type"), (7, "wrong_type")]
)
def test_an_id_must_be_a_uuid(me: Client, value: object, code: str) -> None:
    answer = me.post(me.tasks, json={"title": "x", "id": value})
    assert_problem(answer, "validation_error", ("pointer", "/id", code))
    assert listed(me) == []


@pytest.mark.parametrize("value", ["true", "false", "1", 1, 0, 1.0, None, "", [], {}, [True]])
@in_memory
def test_is_completed_must_be_a_boolean(me: Client, value: object) -> None:
    task = made(me)
    answer = me.put(one(me, task), json={"is_completed": value})
    assert_problem(answer, "validation_error", ("pointer", "/is_completed", "wrong_type"))
    assert listed(me) == [task]


@pytest.mark.parametrize(
    ("number", "code"),
    [(b"1e999", "invalid_value"), (b"-1e999", "invalid_value"), (b"1e-999", "wrong_type"), (BIG, "invalid_value")],
    ids=["big", "low", "tiny", "long"],
)
@in_memory
def test_is_completed_must_not_be_a_huge_number(me: Client, number: bytes, code: str) -> None:
    task = made(me)
    answer = me.put(one(me, task), content=b'{"is_completed": ' + number + b"}", headers=JSON)
    assert_problem(answer, "validation_error", ("pointer", "/is_completed", code))
    assert listed(me) == [task]


@in_memory
def test_a_task_cannot_be_created_completed(me: Client) -> None:
    answer = me.post(me.tasks, json={"title": "x", "is_completed": True})
    assert_problem(answer, "validation_error", (*WHOLE, "unknown_field"))
    assert listed(me) == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"title": "first", "title": "last"}',
        b'{"title": "same", "title": "same"}',
        b'{"title":"first","titl\\u0065":"last"}',
        b'{"title": "a", "title": "b", "title": "c"}',
    ],
)
@in_memory
def test_a_repeated_field_is_rejected_because_parsers_differ(place: Place, body: bytes) -> None:
    place.refuses(body, "malformed_json")


@in_memory
def test_a_repeated_field_beside_another_is_rejected(me: Client) -> None:
    task = made(me)
    for body in (
        b'{"is_completed": true, "is_completed": false}',
        b'{"is_completed": true, "title": "x", "is_completed": true}',
    ):
        assert_problem(me.put(one(me, task), content=body, headers=JSON), "malformed_json")
    assert listed(me) == [task]


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonx", "*/*", "application"],
)
@in_memory
def test_another_content_type_is_rejected(place: Place, content_type: str) -> None:
    headers = {"Content-Type": content_type} if content_type else {"X-No-Content-Type": "sent"}
    for body in (b'{"title": "x"}', b"title=x", b"{"):
        place.refuses(body, "unsupported_media_type", **headers)


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json ;x=y"]
)
def test_these_content_types_are_json(place: Place, content_type: str) -> None:
    answer = place.send('{"title": "Milch für ü"}'.encode(), {"Content-Type": content_type})
    assert answer.json()["title"] == "Milch für ü"


class TestSize:
    """The limit is 64 KiB, with a Content-Length and without one."""

    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
    def test_64_kib_are_accepted(self, place: Place, size: int, chunked: bool) -> None:
        assert place.send(self.body(size, chunked)).json()["title"] == "Buy milk"

    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize("size", [LIMIT + 1, 1_000_000])
    @in_memory
    def test_one_byte_more_is_too_large(self, place: Place, size: int, chunked: bool) -> None:
        assert_problem(place.send(self.body(size, chunked)), "body_too_large")
        assert listed(place.client) == [place.task]

    @staticmethod
    def body(size: int, chunked: bool) -> bytes | Iterator[bytes]:
        whole = b'{"title": "Buy milk"}'.ljust(size)
        return iter([whole[:20], whole[20:LIMIT], whole[LIMIT:]]) if chunked else whole
