"""Values of a task's fields. The tests of the domain, the storage and the HTTP API share them.

A field that is added here is tried by all of them.
"""

from typing import Any

from domain.rules import TEXTS, USER_ID

Json = dict[str, Any]

RULES = {rule.field: rule for rule in (*TEXTS, USER_ID)}
"""The rule of each text, by its field."""

REJECTED: list[tuple[str, Any, str]] = [
    *[("title", value, "title_empty") for value in ("", " ", "\t\r\n", " \t\n\u00a0\u2003\u3000\u2028\x1f")],
    *[("title", value, "title_too_long") for value in ("x" * 501, "  " + "x" * 501)],
    *[("title", value, "title_too_long") for value in ("\U0001f600" * 501, "e\u0301" * 251)],
    *[("title", value, "title_control_character") for value in ("a\x00b", "\x00", "a\nb", "a\x85b", "a\x7fb")],
    ("title", "a\ud800b", "title_surrogate"),
    ("title", 7, "title_not_text"),
    ("user_id", "", "user_id_empty"),
    ("user_id", "x" * 256, "user_id_too_long"),
    ("user_id", "a\nb", "user_id_control_character"),
    ("user_id", "a\udfff", "user_id_surrogate"),
    ("user_id", None, "user_id_not_text"),
]
"""A field, a value that its rule rejects, and the code of the error."""

DRAFTS: list[Json] = [{"title": "Buy milk"}]
"""What a client may say of a new task."""

NEW_TASK: Json = {"title": "Buy milk", "is_completed": False, "completed_at": None, "version": 1}
"""The response to the first of them, apart from id, owner and times."""

CHANGES: list[Json] = [
    {"title": "Buy oat milk"},
    {"is_completed": True},
    {"title": "Buy soy", "is_completed": False},
]
"""Changes of one task in turn, each of which makes a difference."""
