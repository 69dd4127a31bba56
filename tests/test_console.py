"""Log lines for people have the fields of the JSON lines, and control no terminal."""

import os
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from entrypoints.console import console_encoder, has_colours
from entrypoints.http.server.observers import AccessLine

NOW = datetime.now(UTC)
TIME = r"\d\d:\d\d:\d\d\.\d{3}"


def request(**fields: Any) -> AccessLine:
    given = {"method": "GET", "route": "/api/{user_id}/tasks", "status": 200, "duration_ms": 1.234, "code": None}
    return AccessLine(**{"time": NOW, "request_id": "r-1", "user_id": "ada", **given, **fields})


def record(**fields: Any) -> dict[str, Any]:
    return {"time": NOW, "level": "WARNING", "logger": "hextasks.x", "message": "storage_unavailable", **fields}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (request(), r"200 GET    /api/{user_id}/tasks 1.2 ms ada r-1"),
        (
            request(status=404, route=None, path="/no", user_id=None, code="route_not_found"),
            "404 GET    /no 1.2 ms code=route_not_found r-1",
        ),
        (
            request(status=403, code="forbidden", reason="another user"),
            "403 GET    /api/{user_id}/tasks 1.2 ms ada code=forbidden reason=another user r-1",
        ),
        (request(user_id="ada code=x r-2"), r"200 GET    /api/{user_id}/tasks 1.2 ms 'ada code=x r-2' r-1"),
        (request(method=None, route=None, user_id=None, status=400), "400 -      - 1.2 ms r-1"),
        (
            record(error={"type": "x.Error", "sqlstate": "57P01"}, count=3),
            'WARNING hextasks.x storage_unavailable error={"type":"x.Error","sqlstate":"57P01"} count=3',
        ),
        (
            record(level="ERROR", error={"type": "x.Error", "stack": ["a.py:1 f", "b.py:2 g"]}),
            'ERROR   hextasks.x storage_unavailable error={"type":"x.Error"}\n    a.py:1 f\n    b.py:2 g',
        ),
    ],
)
def test_a_line_has_what_the_json_has(line: object, shown: str) -> None:
    plain = console_encoder(is_coloured=False)(line).decode()
    assert re.fullmatch(rf"{TIME} {re.escape(shown)}\n", plain)
    coloured = console_encoder(is_coloured=True)(line).decode()
    assert coloured != plain
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain


def test_what_clients_sent_controls_no_terminal() -> None:
    evil = "\x1b[2J\n\u202e\ud800"
    for line in (request(route=None, path=evil, user_id=evil, request_id=evil), record(message=evil, evil=evil)):
        shown = console_encoder(is_coloured=False)(line).decode()
        assert shown.removesuffix("\n").isprintable()
        assert "\\x1b[2J\\n\\u202e\\ud800" in shown


def test_colours_are_for_terminals_unless_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [*os.openpty(), *os.pipe()]
    _, terminal, _, pipe = ends
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert has_colours(terminal)
    assert not has_colours(pipe)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colours(terminal)
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert not has_colours(terminal)
    for end in ends:
        os.close(end)
