"""Reading many tasks: pages of the list, and pages of its changes."""

from contextlib import suppress
from urllib.parse import quote
from zlib import crc32

from litestar import get
from litestar.handlers import HTTPRouteHandler

from application import DEFAULT_PAGE_SIZE, InvalidState, PageRequest, State, Tasks
from domain import InvalidText
from entrypoints.http.api.bodies import StrictRequest
from entrypoints.http.api.cursors import decode_cursor, encode_cursor
from entrypoints.http.api.examples import CHANGES, LIST
from entrypoints.http.api.parameters import (
    CHANGES_QUERY,
    PAGE_QUERY,
    Q_RULE,
    Completed,
    Cursor,
    Limit,
    SearchText,
    Since,
    UserId,
    parse_since,
)
from entrypoints.http.api.preconditions import IF_NONE_MATCH, known_tags
from entrypoints.http.api.schemas import ChangesResponse, TaskListResponse, TaskResponse
from entrypoints.http.docs.responses import ACCESS, ETAG, INPUT, LINK, STORAGE, SYNC, errors, reading, success
from entrypoints.http.response import ReadyResponse
from entrypoints.http.server.exchange import Exchange

REPRESENTATION = crc32(f"1 {TaskResponse.__struct_fields__}".encode())
"""The form of the list in JSON, part of its entity tag. When the same fields get another form, raise the 1."""


def list_handlers(use_cases: Tasks) -> list[HTTPRouteHandler]:
    """Return the handlers of the list and of its changes."""
    list_user_tasks, list_user_changes = use_cases.list, use_cases.changes

    @get(
        "/",
        summary="View all personal tasks",
        operation_id="listTasks",
        tags=["tasks"],
        responses=success("A page of tasks", LIST)
        | success("The page still has that ETag", status=304)
        | errors(*INPUT, *ACCESS, *STORAGE),
        response_headers=[ETAG, LINK],
        opt={"query": PAGE_QUERY},
        operation_class=reading(IF_NONE_MATCH),
    )
    async def list_tasks(
        request: StrictRequest,
        user_id: UserId,
        limit: Limit = DEFAULT_PAGE_SIZE,
        cursor: Cursor = None,
        completed: Completed = None,
        q: SearchText = None,
    ) -> ReadyResponse:
        """Newest first, ties by id. Pages neither repeat nor skip a task that stayed, whatever is written meanwhile."""
        after = None if cursor is None else decode_cursor(cursor, user_id=user_id, completed=completed, text=q)
        try:
            wanted = PageRequest(limit=limit, after=after, completed=completed, text=q)
        except InvalidText:  # of the argument `text`
            Q_RULE.check(q or "")  # raises that of the parameter
            raise
        digest = crc32(f"{REPRESENTATION}/{limit}/{cursor}/{completed}/{q}".encode())
        tags = known_tags(request)
        known = _known_state(tags, digest) if tags else None
        page = await list_user_tasks(actor=request.actor, user_id=user_id, page=wanted, known=known)
        tag = b"etag", _list_tag(page.state, digest).encode()
        if page.state == known or "*" in tags:
            return ReadyResponse.empty(304, tag)
        if page.next is None:
            return ReadyResponse.json(200, TaskListResponse.of(page, None), tag)
        next_cursor = encode_cursor(page.next, user_id=user_id, completed=completed, text=q)
        query = f"limit={limit}&cursor={next_cursor}"  # urlencode takes a tenth of the time of the whole request
        if completed is not None:
            query += f"&completed={str(completed).lower()}"
        if q is not None:
            query += f"&q={quote(q, safe='')}"
        link = f'<{tasks_path(request, user_id)}?{query}>; rel="next"'
        return ReadyResponse.json(200, TaskListResponse.of(page, next_cursor), tag, (b"link", link.encode()))

    @get(
        "/changes",
        summary="View the changes of personal tasks",
        operation_id="listChanges",
        tags=["sync"],
        responses=success("A page of changes", CHANGES) | errors(*INPUT, *ACCESS, *SYNC, *STORAGE),
        opt={"query": CHANGES_QUERY},
    )
    async def list_changes(
        request: StrictRequest, user_id: UserId, since: Since = None, limit: Limit = DEFAULT_PAGE_SIZE
    ) -> ReadyResponse:
        """In their order, each task once, as it is now. A copy of the list stays equal to it by these changes.

        Without `since` all tasks are returned. Pass `next` as `since`, at once while `has_more` is true. 410 says that
        deletions since that token may be missing: begin again without `since`.
        """
        state = parse_since(since)
        page = await list_user_changes(actor=request.actor, user_id=user_id, since=state, limit=limit)
        return ReadyResponse.json(200, ChangesResponse.of(page))

    return [list_tasks, list_changes]


def tasks_path(request: StrictRequest, user_id: str) -> str:
    """Return the path of a user's tasks, for a request to that path: it tells where the API is mounted."""
    segments = Exchange.of(request.scope).path.strip("/").split("/")
    return "/".join(("", *segments[:-2], quote(user_id, safe=""), "tasks"))


def _list_tag(state: State, digest: int) -> str:
    return f'W/"{state}-{digest:08x}"'


def _known_state(tags: list[str], digest: int) -> State | None:
    """Return the newest state whose response to the same query the client has."""
    end = f'-{digest:08x}"'
    states = []
    for tag in tags:
        if tag.endswith(end):
            with suppress(InvalidState):
                states.append(State.parse(tag.removeprefix("W/")[1 : -len(end)]))
    return max((state for state in states if not state.began), key=lambda state: state.number, default=None)
