"""A light HTTP client on a keep-alive connection: reports each answer, how long it took, or why there was none."""

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from adapters.tokens import issue_token

SECRET = "a secret for the scenarios that is long enough"

Json = dict[str, Any]
TIMEOUT_SECONDS = 30.0
"""For an answer: three times what the service allows a request."""

NOT_SENT = "not sent"

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class NoAnswer(Exception):
    """The connection was closed, or the time was up, before the whole answer had arrived."""


class NotSent(NoAnswer):
    """There was no connection, so the service has not received the request."""


class Answer:
    """An answer, and the seconds that it took."""

    __slots__ = ("body", "head", "seconds", "status")

    def __init__(self, head: bytes, body: bytes, seconds: float) -> None:
        self.head, self.body, self.seconds = head, body, seconds
        self.status = int(head[9:12])

    def json(self) -> Json:
        value: Json = json.loads(self.body)
        return value

    @property
    def code(self) -> str:
        """The code of a problem, or an empty string."""
        return str(self.json()["code"]) if self.status >= 400 else ""

    def header(self, name: str) -> str:
        """Return the value of a header, or an empty string."""
        found = re.search(rf"\r\n{name}: ([^\r]*)".encode(), self.head, re.IGNORECASE)
        return found[1].decode() if found else ""

    @property
    def is_last(self) -> bool:
        """Whether the server is going to close the connection."""
        return b"\r\nconnection: close\r\n" in self.head.lower()

    @property
    def has_retry_after(self) -> bool:
        return self.retry_after > 0

    @property
    def retry_after(self) -> int:
        return int(self.header("Retry-After") or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One request: when it began and ended, on the clock of `time.monotonic`, and its answer."""

    kind: str
    began: float
    ended: float
    status: int
    """0 where there was no answer."""
    code: str = ""
    """The problem's code, or why there was no answer."""
    has_retry_after: bool = False

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    @property
    def is_failure(self) -> bool:
        return self.status == 0 or self.status >= 500

    @property
    def is_retryable(self) -> bool:
        return self.status == 503 and self.has_retry_after


class Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._began = 0.0
        self._answer: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a stream's, always
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, ended, body = self._received.partition(b"\r\n\r\n")
        if not ended or not self._answer or self._answer.done():
            return
        head += b"\r\n"
        length = _LENGTH.search(head)
        if len(body) >= (int(length[1]) if length else 0):
            self._received = b""
            answer = Answer(head, body, time.perf_counter() - self._began)
            self._answer.set_result(answer)
            if answer.is_last:
                self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer and not self._answer.done():
            self._answer.set_exception(NoAnswer(repr(exc)))

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes) -> "asyncio.Future[Answer]":
        """Send a request and return its future answer."""
        assert self._transport
        self._answer = asyncio.get_running_loop().create_future()
        self._began = time.perf_counter()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """Close the connection, cancelling an answer that is still awaited."""
        if self._answer:
            self._answer.cancel()
        if self._transport:
            self._transport.abort()
            self._transport = None


class Client:
    """A user of the service. Connects when needed."""

    def __init__(self, address: str, user: str) -> None:
        self.user = user
        url = urlsplit(address)
        self._host, self._port = str(url.hostname), int(url.port or 80)
        self._tasks = f"/api/{quote(user, safe='')}/tasks"
        self._common = f"Host: {url.netloc}\r\nAuthorization: Bearer {issue_token(SECRET, user)}\r\n"
        self.connection = Connection()

    def request(self, method: str, end: str = "", body: Json | None = None, key: str = "") -> bytes:
        """Return a request for the user's tasks, or for a path under /health; perhaps with an idempotency key."""
        content = b"" if body is None else json.dumps(body).encode()
        kind = "" if body is None else f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        kind += f"Idempotency-Key: {key}\r\n" if key else ""
        path = end if end.startswith("/health/") else self._tasks + end
        return f"{method} {path} HTTP/1.1\r\n{self._common}{kind}\r\n".encode() + content

    async def send(self, request: bytes) -> "asyncio.Future[Answer]":
        """Send a request over the open connection, or a new one. Raises NotSent."""
        if not self.connection.is_open:
            await self.connect()
        return self.connection.send(request)

    async def connect(self) -> None:
        """Open the connection. Raises NotSent."""
        try:
            loop = asyncio.get_running_loop()
            _, self.connection = await loop.create_connection(Connection, self._host, self._port)
        except OSError as error:
            raise NotSent(repr(error)) from error

    async def ask(self, method: str, end: str = "", body: Json | None = None, key: str = "") -> Answer:
        """Send a request and wait for its answer. Raises NoAnswer."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await (await self.send(self.request(method, end, body, key)))
        except TimeoutError:
            self.connection.close()
            raise NoAnswer("timeout") from None

    async def try_to_ask(
        self, kind: str, method: str, end: str = "", body: Json | None = None, key: str = ""
    ) -> tuple[Event, Answer | None]:
        """Send a request; return what happened, and the answer if there was one."""
        began = time.monotonic()
        answer, code = None, ""
        try:
            answer = await self.ask(method, end, body, key)
        except NotSent:
            code = NOT_SENT
        except NoAnswer as error:
            code = str(error)
        event = Event(
            kind=kind,
            began=began,
            ended=time.monotonic(),
            status=answer.status if answer else 0,
            code=answer.code if answer else code,
            has_retry_after=bool(answer and answer.has_retry_after),
        )
        return event, answer

    def close(self) -> None:
        self.connection.close()
