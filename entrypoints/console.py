"""Log lines for people: the fields of the JSON lines, on one readable line each, in colours if wanted."""

import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

_PLAIN = frozenset({"time", "level", "logger", "message"})
_OF_REQUESTS = frozenset({"method", "route", "path", "status", "duration_ms", "user_id", "request_id"})
_COLOURS = {"dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
_LEVEL_COLOURS = {"DEBUG": "dim", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
_STATUS_COLOURS = {2: "green", 3: "cyan", 4: "yellow", 5: "red"}

Paint = Callable[[str, str], str]
"""Gives a text a colour."""


def has_colours(descriptor: int) -> bool:
    """Return whether what is written there may have colours: on a terminal, unless NO_COLOR is set."""
    return os.isatty(descriptor) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def console_encoder(*, is_coloured: bool) -> Callable[[Any], bytes]:
    """Return a function that makes the line, its line feed included, of a mapping or a struct of fields."""

    def paint(text: str, colour: str) -> str:
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if is_coloured else text

    def encode(line: Any) -> bytes:
        fields = msgspec.to_builtins(line, builtin_types=(datetime,), enc_hook=str)
        words = [paint(f"{fields['time'].astimezone():%H:%M:%S.%f}"[:-3], "dim")]
        words += _request(fields, paint) if fields["logger"] == "hextasks.request" else _record(fields, paint)
        return (" ".join(words) + "\n").encode()

    return encode


def _request(fields: dict[str, Any], paint: Paint) -> list[str]:
    """Return status, method, route, duration and user, and why the request failed."""
    words = [
        paint(str(fields["status"]), _STATUS_COLOURS.get(fields["status"] // 100, "red")),
        f"{printable(fields['method'] or '-'):6}",
        printable(fields["route"] or fields.get("path") or "-"),
        paint(f"{fields['duration_ms']:.1f} ms", "dim"),
    ]
    if user_id := fields["user_id"]:  # quoted if it could be taken for several fields
        words.append(printable(f"'{user_id}'" if " " in user_id else user_id))
    words += _others(fields, _PLAIN | _OF_REQUESTS)
    return [*words, paint(printable(fields["request_id"]), "dim")]


def _record(fields: dict[str, Any], paint: Paint) -> list[str]:
    """Return level, logger, message and fields; the stack of an error follows on lines of its own."""
    level = fields["level"]
    words = [
        paint(f"{level:7}", _LEVEL_COLOURS.get(level, "green")),
        paint(fields["logger"], "dim"),
        printable(fields["message"]),
    ]
    stack = fields["error"].pop("stack", []) if isinstance(fields.get("error"), dict) else []
    words += _others(fields, _PLAIN)
    words[-1] += "".join(f"\n    {printable(frame)}" for frame in stack)
    return words


def _others(fields: dict[str, Any], shown: frozenset[str]) -> list[str]:
    return [
        f"{name}={printable(value if isinstance(value, str) else msgspec.json.encode(value).decode())}"
        for name, value in fields.items()
        if name not in shown and value is not None
    ]


def printable(text: str) -> str:
    """Return a text without characters that control a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
