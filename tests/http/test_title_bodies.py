"""Titles in request bodies, of new tasks and of changes."""

import json

import pytest

from tests.fields import REJECTED
from tests.http.wire import Place, assert_problem, in_memory, listed

TITLE = ("pointer", "/title")


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        (field, value, "wrong_type" if code.endswith("_not_text") else code)
        for field, value, code in REJECTED
        if field != "user_id" and not code.endswith("_surrogate")
    ],
)
@in_memory
def test_values_that_a_rule_rejects_are_not_valid(place: Place, field: str, value: object, code: str) -> None:
    body = {"title": "Buy milk", field: value}
    place.refuses(json.dumps(body).encode(), "validation_error", ("pointer", f"/{field}", code))


@in_memory
def test_control_characters_are_rejected(place: Place) -> None:
    for code in (*range(0x20), *range(0x7F, 0xA0)):
        body = json.dumps({"title": f"a{chr(code)}b"}).encode()
        assert_problem(place.send(body), "validation_error", (*TITLE, "title_control_character"))
    assert listed(place.client) == [place.task]


def test_every_white_space_and_nothing_else_is_stripped(place: Place) -> None:
    spaces = [chr(code) for code in range(0x110000) if chr(code).isspace()]
    assert len(spaces) > 25
    for space in spaces:
        answer = place.send(json.dumps({"title": space * 2}).encode())
        assert_problem(answer, "validation_error", (*TITLE, "title_empty"))
    assert listed(place.client) == [place.task]
    for outside in (*spaces, "".join(spaces)):
        for kept in ("x", "\u200bx\ufeff", "a \u3000 b"):
            body = json.dumps({"title": f"{outside}{kept}{outside}"}).encode()
            assert place.send(body).json()["title"] == kept


@pytest.mark.parametrize("title", ["\\ud800", "a\\udfff", "\\ude00\\ud83d", "\\ud83d\\ud83d\\ude00", "\\uD800 x"])
@in_memory
def test_a_lone_surrogate_is_rejected(place: Place, title: str) -> None:
    place.refuses(f'{{"title": "{title}"}}'.encode(), "malformed_json")


def test_a_title_may_contain_what_looks_like_a_field(place: Place) -> None:
    title = '", "title": "::": {"title": 1}'
    assert place.send(json.dumps({"title": title}).encode()).json()["title"] == title


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("\\ud83d\\ude00" * 500, "\U0001f600" * 500),
        ("\\u0042uy\\u0020milk\\/", "Buy milk/"),
        ("\\u0009x\\n", "x"),
    ],
)
def test_escapes_stand_for_their_characters(place: Place, title: str, kept: str) -> None:
    assert place.send(f'{{"title": "{title}"}}'.encode()).json()["title"] == kept
