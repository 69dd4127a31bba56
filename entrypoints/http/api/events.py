"""Server-sent events: a user's changes as they happen."""

import random
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIType, Parameter, Schema

from adapters.tokens import KeysUnavailable, TokenError
from application import TOKEN_PATTERN, ChangePage, FollowChanges, InvalidState, State, StateExpired, StorageUnavailable
from entrypoints.http.api.access import Callers
from entrypoints.http.api.bodies import StrictRequest
from entrypoints.http.api.errors import InvalidInput
from entrypoints.http.api.examples import APPLIED, CHANGES
from entrypoints.http.api.parameters import EVENTS_QUERY, Since, UserId, parse_since
from entrypoints.http.api.schemas import entry
from entrypoints.http.docs.responses import ACCESS, INPUT, STORAGE, errors, reading, success_stream
from entrypoints.http.response import ReadyResponse
from entrypoints.http.server.asgi import CLOSE, Send
from entrypoints.http.server.exchange import Exchange

PING_SECONDS = 15.0
PAGE_SIZE = 20
"""Changes that are read together. A stream keeps them while its client does not read."""
PART_BYTES = 16_384
"""Events are sent together up to this size; the next part follows when the client has read."""
RETRY_MILLISECONDS = range(1_000, 5_000)
"""When a client connects again: not all of them at once after a restart."""
HEADERS = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # or nginx would keep events back
    CLOSE,  # a client connects again to any process, not to one that stops
)
LAST_EVENT_ID = Parameter(
    "Last-Event-ID",
    "header",
    Schema(type=OpenAPIType.STRING, pattern=f"^$|{TOKEN_PATTERN}"),
    description="The `id` of the last event that was received. It takes precedence over `since`.",
)
EXAMPLE = f"""retry: 2500
id: {CHANGES.next}
event: ready
data: {{}}

id: {APPLIED.next}
event: change
data: {msgspec.json.encode(APPLIED.results[-1]).decode()}

"""
_PING = b"event: ping\ndata: {}\n\n"
_encode = msgspec.json.Encoder().encode
_jitter = random.Random()  # noqa: S311


def events_handler(follow: FollowChanges, callers: Callers) -> HTTPRouteHandler:
    """Return the handler of a user's events."""

    @get(
        "/events",
        summary="Follow changes as they happen",
        operation_id="followTasks",
        tags=["sync"],
        responses=success_stream("Events, until the stream ends", EXAMPLE) | errors(*INPUT, *ACCESS, *STORAGE),
        opt={"query": EVENTS_QUERY},
        operation_class=reading(LAST_EVENT_ID),
    )
    async def follow_tasks(request: StrictRequest, user_id: UserId, since: Since = None) -> ReadyResponse:
        """Server-sent events (`text/event-stream`), each change with the token after it as `id`.

        `ready` comes first, with the token where the events begin: after `Last-Event-ID`, else after `since`, else now.
        Then a `change` for each entry of `changes`, in their order. `ping` comes after 15 seconds without an event.
        `resync` says that the given token has expired: read all changes again; the events go on from its `id`. The
        stream ends with the access token, after 10 minutes, or when the service stops: connect again, after `retry`
        milliseconds, with the last `id`.
        """
        begins_after = _given_state(request, since)
        exchange = Exchange.of(request.scope)
        if exchange.method == "HEAD":
            return ReadyResponse.empty(200, *HEADERS)
        stream = exchange.open_stream()
        lease = await callers.lease(request)
        events = _events(follow, user_id, begins_after)
        first = await anext(events)

        async def send_events(send: Send) -> None:
            async with aclosing(events):
                await send({"type": "http.response.body", "body": first, "more_body": True})
                with suppress(TokenError, KeysUnavailable, StorageUnavailable):  # the next request gets the problem
                    async for part in events:
                        await lease.check()
                        await send({"type": "http.response.body", "body": part, "more_body": True})

        return EventsResponse(partial(stream.begin, send_events, at_most=lease.seconds))

    return follow_tasks


class EventsResponse(ReadyResponse):
    """The head of a response whose body a stream sends."""

    __slots__ = ("_begin",)

    def __init__(self, begin: Callable[[], None]) -> None:
        """Call `begin` when the head was sent."""
        super().__init__(200, b"")
        self.headers = HEADERS
        self._begin = begin

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:  # noqa: ARG002
        """Send the head."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        self._begin()


async def _events(follow: FollowChanges, user_id: str, since: State | None) -> AsyncGenerator[bytes, None]:
    """Yield events without end. The first one raises what FollowChanges raises, except for StateExpired."""
    first = ["ready"]
    while True:
        pages = follow(actor=user_id, user_id=user_id, since=since, limit=PAGE_SIZE, idle_seconds=PING_SECONDS)
        try:
            async with aclosing(pages):
                async for page in pages:
                    since = since or page.next
                    if first:
                        retry = b"retry: %d\n" % _jitter.choice(RETRY_MILLISECONDS)
                        yield retry + b"".join(_event(name, since, b"{}") for name in first)
                        first = []
                    elif not page.changes:
                        yield _PING
                    for part in _parts(page, since):
                        yield part
                    since = page.next
        except StateExpired:
            since = None
            first = [*first, "resync"]


def _parts(page: ChangePage, since: State) -> Iterator[bytes]:
    """Yield the events of a page, together up to PART_BYTES."""
    part = bytearray()
    for change, state in page.steps(since):
        part += _event("change", state, _encode(entry(change)))
        if len(part) >= PART_BYTES:
            yield bytes(part)
            part.clear()
    if part:
        yield bytes(part)


def _event(name: str, state: State, data: bytes) -> bytes:
    return f"id: {state}\nevent: {name}\ndata: ".encode() + data + b"\n\n"


def _given_state(request: StrictRequest, since: str | None) -> State | None:
    """Return the state after which the events begin; None stands for now. Raises InvalidInput."""
    if last := request.header(b"last-event-id"):
        try:
            return State.parse(last)
        except InvalidState as error:
            raise InvalidInput.of(error, parameter="Last-Event-ID") from None
    return parse_since(since)
