"""Clients that follow the changes of one user, and keep a copy of the tasks from what they receive."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import quote

import httpx

from adapters.tokens import issue_token
from tests.torture.client import SECRET, Event, Json

PAUSE_SECONDS = 0.1
"""Between the end of a stream and the next one; shorter than clients should wait, so that many begin during a stop."""
SILENCE_SECONDS = 40.0


class Follower:
    """One client: reads all changes, then follows them; begins again where it is told to."""

    def __init__(self, address: str, user: str) -> None:
        self.user = user
        self.tasks: dict[str, Json] = {}
        self.failures: list[Event] = []
        self.streams = 0
        self._token = ""
        self._address = f"{address}/api/{quote(user, safe='')}/tasks"
        self._headers = {"Authorization": f"Bearer {issue_token(SECRET, user)}"}

    @asynccontextmanager
    async def following(self) -> AsyncIterator["Follower"]:
        """Follow until the end of the block."""
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        async with httpx.AsyncClient(verify=False, headers=self._headers, timeout=SILENCE_SECONDS) as http:
            while True:
                began = time.monotonic()
                try:
                    await (self._follow(http) if self._token else self._read(http))
                except httpx.HTTPStatusError as error:
                    self._failed(began, error.response.status_code, error.response.text)
                except httpx.HTTPError as error:
                    self._failed(began, 0, repr(error))
                await asyncio.sleep(PAUSE_SECONDS)

    def _failed(self, began: float, status: int, code: str) -> None:
        self.failures.append(
            Event(kind="follow", began=began, ended=time.monotonic(), status=status, code=code, has_retry_after=True)
        )

    async def _read(self, http: httpx.AsyncClient) -> None:
        self.tasks.clear()
        token, has_more = "", True
        while has_more:
            answer = await http.get(f"{self._address}/changes", params={"since": token} if token else {})
            page = answer.raise_for_status().json()
            for change in page["changes"]:
                self._apply(change)
            token, has_more = page["next"], page["has_more"]
        self._token = token

    async def _follow(self, http: httpx.AsyncClient) -> None:
        headers = {"Last-Event-ID": self._token}
        async with http.stream("GET", f"{self._address}/events", headers=headers) as answer:
            if answer.status_code != 200:
                await answer.aread()
                answer.raise_for_status()
            self.streams += 1
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                if fields["event"] == "change":
                    self._apply(json.loads(fields["data"]))
                elif fields["event"] == "resync":
                    self._token = ""
                    return
                self._token = fields.get("id", self._token)
                fields = {}

    def _apply(self, change: Json) -> None:
        if change["op"] == "put":
            self.tasks[change["task"]["id"]] = change["task"]
        else:
            self.tasks.pop(change["id"], None)
