"""Changes as they happen: one user's server-sent events, over as many connections as it takes."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import TypeAlias

import httpx
import msgspec

from application import TOKEN_PATTERN, Change
from hextasks.client.messages import Entry, change
from hextasks.client.problems import MALFORMED, ApiProblem
from hextasks.client.transport import Transport

SILENCE_SECONDS = 40.0
"""After which a connection counts as lost: the service sends an event at least every 15 seconds."""
RETRY_SECONDS = 2.0
"""Before the next connection, until the service has sent `retry`."""
LEAST_RETRY_SECONDS = 0.1
MAX_LINE_BYTES = 1024 * 1024
"""More than a line of the service's has. A longer one is not kept."""
_FIELDS = frozenset({"id", "event", "data", "retry"})
_TOKEN = re.compile(f"(?:{TOKEN_PATTERN})?")
_MILLISECONDS = re.compile("[0-9]{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEvent:
    """A change, and the token after it, from which `events` resumes."""

    change: Change
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resync:
    """The token has expired, so that changes may have been missed: read all again, by `changes` without `since`.

    The events go on after `token` and leave none out meanwhile; a change older than the copy's version is known.
    """

    token: str


Event: TypeAlias = ChangeEvent | Resync


async def follow(
    transport: Transport, path: str, *, since: str | None, silence_seconds: float
) -> AsyncGenerator[Event, None]:
    """Yield events without end."""
    last, retry_seconds, is_connected = "", RETRY_SECONDS, False
    while True:
        response = await transport.open(
            path,
            params={} if last else {"since": since},
            headers={"Last-Event-ID": last} if last else {},
            silence_seconds=silence_seconds,
            is_endless=is_connected,
        )
        is_connected = True
        try:
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise ApiProblem.unexpected(response)
            async for fields in _events(response):
                last = fields.get("id", last)
                if not _TOKEN.fullmatch(last):
                    raise ApiProblem.unexpected(response)
                if _MILLISECONDS.fullmatch(fields.get("retry", "")):
                    retry_seconds = max(LEAST_RETRY_SECONDS, int(fields["retry"]) / 1000)
                if fields.get("event") == "change":
                    yield ChangeEvent(change=_change(response, fields.get("data", "")), token=last)
                elif fields.get("event") == "resync":
                    yield Resync(token=last)
        except httpx.RequestError:
            pass  # the connection was lost, or silent
        finally:
            await response.aclose()
        await asyncio.sleep(retry_seconds)


def _change(response: httpx.Response, data: str) -> Change:
    try:
        return change(msgspec.json.decode(data, type=Entry))
    except MALFORMED as error:
        raise ApiProblem.unexpected(response) from error


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """Yield the fields of each event. An event that the end of the stream cuts off is left out."""
    fields: dict[str, str] = {}
    async for line in _lines(response):
        name, _, value = line.partition(":")
        if name in _FIELDS:
            fields[name] = value.removeprefix(" ")
        elif not line and fields:
            yield fields
            fields = {}


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Yield the lines. A title may contain what Python, but not the format, takes for the end of a line.

    Raises ApiProblem for a line that is too long.
    """
    rest = bytearray()
    async for part in response.aiter_bytes():
        *lines, last = part.split(b"\n")
        for line in lines:
            yield (rest + line).removesuffix(b"\r").decode(errors="replace")
            rest.clear()
        rest += last
        if len(rest) > MAX_LINE_BYTES:
            raise ApiProblem.unexpected(response)
