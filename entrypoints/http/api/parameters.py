"""The parameters of the API: their documentation, and the checks that Litestar does not make."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import unquote
from uuid import UUID

import msgspec
from litestar import Request
from litestar.params import PathParameter, QueryParameter

from application import MAX_PAGE_SIZE, SEARCH_TEXT, TOKEN_PATTERN, InvalidState, State, TaskNotFound
from domain.rules import CONTROL, USER_ID
from entrypoints.http.api.cursors import CURSOR_PATTERN
from entrypoints.http.api.errors import InvalidInput

UserId = Annotated[
    str,
    PathParameter(
        description="The owner of the tasks: the user that the token names.",
        schema_extra={"min_length": 1, "max_length": USER_ID.max_length},
    ),
]
TaskId = Annotated[str, PathParameter(description="The task's id.", format="uuid")]
Limit = Annotated[
    int,
    QueryParameter(
        description="Tasks or changes per page.",
        schema_extra={"minimum": 1, "maximum": MAX_PAGE_SIZE},  # documented only; the application checks them
    ),
]
Cursor = Annotated[
    str | None,
    QueryParameter(description="`next_cursor` of the previous page.", schema_extra={"pattern": CURSOR_PATTERN}),
]
Completed = Annotated[bool | None, QueryParameter(description="Only completed tasks, or only open ones.")]
SearchText = Annotated[
    str | None,
    QueryParameter(
        description="Only tasks whose title contains this text, regardless of case.",
        schema_extra={"pattern": f"^[^{CONTROL}]{{1,{SEARCH_TEXT.max_length}}}$"},
    ),
]
Since = Annotated[
    str | None,
    QueryParameter(
        description="Only changes after this token: `next` of the previous page, or a `Sync-Token`.",
        schema_extra={"pattern": TOKEN_PATTERN},
    ),
]

Q_RULE = replace(SEARCH_TEXT, field="q")
"""The rule of the parameter `q`: its errors name the parameter."""
_UUID_LENGTH = 36
MAX_QUERY_BYTES = 3072
"""More than the longest valid query has, even if each of its characters is encoded."""

Query = Mapping[str, tuple[re.Pattern[str], str]]
"""The query parameters of a handler, which names them in `opt`: pattern and description of each."""
_LIMIT = (re.compile(r"-?[0-9]{1,18}"), "a whole number")
PAGE_QUERY: Query = {
    "limit": _LIMIT,
    "cursor": (re.compile(".{0,64}"), "a cursor"),
    "completed": (re.compile("true|false"), "true or false"),
    "q": (re.compile(f"(?s:.{{0,{SEARCH_TEXT.max_length + 1}}})"), f"at most {SEARCH_TEXT.max_length} characters"),
}
CHANGES_QUERY: Query = {"limit": _LIMIT, "since": (re.compile(".{0,64}"), "a token")}
EVENTS_QUERY: Query = {"since": CHANGES_QUERY["since"]}


def check_query(request: Request[Any, Any, Any]) -> None:
    """Reject a query parameter that is unknown, repeated or malformed. Raises InvalidInput.

    Litestar would ignore a misspelt `completed`, and list everything. It also keeps the last 1,024 queries that it has
    parsed, so it gets none but short and valid ones.
    """
    query = request.scope["query_string"]
    if not query:
        return
    known = request.route_handler.opt.get("query", {})
    seen: set[str] = set()
    for part in filter(None, query.decode("latin-1").replace("+", " ").split("&")):
        name, value = map(unquote, part.partition("=")[::2])
        if name not in known:
            raise InvalidInput("This query parameter is unknown.", input_code="unknown_parameter", parameter=name)
        if name in seen:
            raise InvalidInput("Send this query parameter once.", input_code="repeated_parameter", parameter=name)
        pattern, expected = known[name]
        if not pattern.fullmatch(value):
            raise InvalidInput(f"Expected {expected}.", parameter=name)
        seen.add(name)
    if len(query) > MAX_QUERY_BYTES:
        raise InvalidInput("The query is too long.")


def parse_since(token: str | None) -> State | None:
    """Return the state that the parameter `since` names, if any. Raises InvalidInput."""
    try:
        return None if token is None else State.parse(token)
    except InvalidState as error:
        raise InvalidInput.of(error, parameter="since") from None


def parse_task_id(text: str) -> UUID:
    """Return the id that a path names. Raises TaskNotFound for text that cannot be a task's id."""
    if "%" in text:
        text = unquote(text)
    if len(text) == _UUID_LENGTH:  # of the forms of a UUID only the canonical one is an id
        with suppress(msgspec.ValidationError):
            return msgspec.convert(text, UUID)
    raise TaskNotFound
