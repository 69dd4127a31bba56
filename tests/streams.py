"""A client of server-sent events."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.services import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, with the JSON of its data."""

    name: str
    id: str | None
    data: Any
    retry: int | None = None


@dataclass(frozen=True, slots=True)
class Following:
    """An open stream, whose events are read one by one."""

    answer: httpx.Response
    events: Iterator[Event]

    def __next__(self) -> Event:
        return next(self.events)

    def __iter__(self) -> Iterator[Event]:
        return self.events

    def take(self, count: int) -> list[Event]:
        """Read so many events."""
        return [next(self.events) for _ in range(count)]


@contextmanager
def following(client: Client, after: str | None = None, /, **query: str) -> Iterator[Following]:
    """Open a stream; `after` is the id of the last event that was received."""
    headers = {} if after is None else {"Last-Event-ID": after}
    with client.stream("GET", f"{client.tasks}/events", params=query, headers=headers) as answer:
        if answer.status_code != 200:
            answer.read()
        yield Following(answer, _events(answer.iter_lines()))


def put(answer: httpx.Response) -> Event:
    """Return the event of a write that has left a task."""
    return Event(name="change", id=answer.headers["sync-token"], data={"op": "put", "task": answer.json()})


def _events(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            assert name not in fields
            fields[name] = value
        else:
            retry = fields.get("retry")
            yield Event(
                name=fields["event"],
                id=fields.get("id"),
                data=json.loads(fields["data"]),
                retry=int(retry) if retry else None,
            )
            fields = {}
    assert not fields, "the stream has ended within an event"
