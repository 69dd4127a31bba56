"""Shared by the tests of this folder: requests with exact bytes, and assertions on every response."""

import base64
import hmac
import http.client
import json
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest

from entrypoints.http.api.documented import ERROR_CODES
from tests.patience import REQUEST_TIMEOUT_SECONDS
from tests.services import SECRET, Client, Service

Json = dict[str, Any]
Headers = Iterable[tuple[str, str | bytes]]

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
FIRST_TOKEN = "000000000000-0"
"""The token of a list without changes."""
JSON = {"Content-Type": "application/json"}
in_memory = pytest.mark.parametrize("service", ["memory"], indirect=True)
"""For tests of what does not depend on the adapter, because it is decided before one is reached."""
STATUS = {
    "malformed_json": 400,
    "validation_error": 400,
    "token_missing": 401,
    "token_invalid": 401,
    "token_expired": 401,
    "forbidden": 403,
    "task_not_found": 404,
    "route_not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "task_already_exists": 409,
    "sync_token_expired": 410,
    "version_mismatch": 412,
    "body_too_large": 413,
    "uri_too_long": 414,
    "unsupported_media_type": 415,
    "idempotency_key_reused": 422,
    "precondition_required": 428,
    "rate_limited": 429,
    "headers_too_large": 431,
    "internal_error": 500,
    "overloaded": 503,
    "shutting_down": 503,
    "storage_unavailable": 503,
    "keys_unavailable": 503,
}


def made(client: Client, title: str = "Buy milk") -> Json:
    """Create a task and return it."""
    answer = client.post(client.tasks, json={"title": title})
    assert answer.status_code == 201, answer.text
    task: Json = answer.json()
    return task


def one(client: Client, task: Json) -> str:
    """Return the path of a task."""
    return f"{client.tasks}/{task['id']}"


def pages(client: Client, **query: str | int) -> Iterator[list[Json]]:
    """Walk a list to its end by `next_cursor`, page by page."""
    cursor: Mapping[str, str] = {}
    while True:
        answer = client.get(client.tasks, params={**query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert page.keys() == {"tasks", "next_cursor"}
        yield page["tasks"]
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def listed(client: Client, **query: str | int) -> list[Json]:
    """Return the whole list."""
    return [task for page in pages(client, **query) for task in page]


def assert_problem(
    answer: httpx.Response,
    code: str,
    *errors: tuple[str, str, str],
    body: bool = True,
    current_version: int | None = None,
) -> None:
    """Prove that an answer is the problem with this code; `errors` are ("pointer" or "parameter", where, code)."""
    assert answer.status_code == STATUS[code], answer.text
    assert answer.headers["content-type"].partition(";")[0] == "application/problem+json"
    if not body:
        assert answer.content == b""
        return
    problem = answer.json()
    expected = {"type", "title", "status", "detail", "instance", "code", "request_id"}
    optional = {"errors": errors, "current_version": current_version}
    assert problem.keys() == expected | {name for name, value in optional.items() if value}, problem
    assert problem.get("current_version") == current_version
    assert problem["code"] == code, problem
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["x-request-id"]
    target: bytes = answer.extensions.get("target", answer.request.url.raw_path)
    assert problem["instance"] == target.partition(b"?")[0].decode()
    assert code in problem["type"]
    assert problem["title"]
    assert problem["detail"]
    found = problem.get("errors", [])
    assert all(error.pop("detail") for error in found), problem
    assert found == [{kind: where, "code": error} for kind, where, error in errors], problem
    assert {error["code"] for error in found} <= set(ERROR_CODES), "a code that is not documented"


def raw(service: Service, method: str, target: str, headers: Headers = (), body: bytes | None = None) -> httpx.Response:
    """Send a request exactly as given, as well-behaved clients do not."""
    url = httpx.URL(service.url)
    connection = http.client.HTTPConnection(url.host, url.port or 80, timeout=REQUEST_TIMEOUT_SECONDS)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return httpx.Response(
            answer.status,
            headers=answer.getheaders(),
            content=answer.read(),
            request=httpx.Request(method, service.url),
            extensions={"target": target.encode()},
        )
    finally:
        connection.close()


@contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    """Open a connection to a service, for arbitrary bytes."""
    url = urlsplit(service.url)
    with socket.create_connection((url.hostname, url.port), timeout=REQUEST_TIMEOUT_SECONDS) as connection:
        yield connection


def received_until_end(connection: socket.socket) -> tuple[int, bool]:
    """Read until the connection ends; return the number of bytes, and whether it was reset, not merely closed."""
    received = 0
    try:
        while more := connection.recv(1 << 20):
            received += len(more)
    except ConnectionResetError:
        return received, True
    return received, False


def statuses(connection: socket.socket, count: int | None = None) -> list[int]:
    """Read so many responses, or all until the connection is closed, and return their statuses in order."""
    received = b""
    while count is None or len(re.findall(rb"HTTP/1.1 \d+", received)) < count:
        try:
            more = connection.recv(1 << 20)
        except ConnectionResetError:
            break
        if not more:
            break
        received += more
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", received)]


def bearer(client: Client) -> tuple[str, str]:
    """Return the Authorization header of a client."""
    return "Authorization", client.headers["Authorization"]


def claims(user: object, **others: object) -> Json:
    """Return the claims of a token for a user; a claim that is None is omitted."""
    given = {"sub": user, "exp": int(time.time()) + 600, **others}
    return {name: value for name, value in given.items() if value is not None}


def token(payload: object, header: object = None, key: str = SECRET, digest: str = "sha256") -> str:
    """Sign a token with arbitrary content. Text and bytes are used as they are."""
    header = {"alg": "HS256", "typ": "JWT"} if header is None else header
    signed = b".".join(_base64(part) for part in (header, payload))
    return (signed + b"." + _base64(hmac.digest(key.encode(), signed, digest))).decode()


def _base64(part: object) -> bytes:
    part = part.encode() if isinstance(part, str) else part
    return base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode()).rstrip(b"=")


def is_new_uuid(text: str) -> bool:
    """Return whether a value is the canonical form of a UUID."""
    return str(UUID(text)) == text


def some_id() -> str:
    """Return an id that no task has."""
    return str(uuid4())


def dereferenced(document: Json) -> Json:
    """Return an OpenAPI document in which references to anything but schemas are replaced by what they refer to."""

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(each) for each in part]
        if not isinstance(part, dict):
            return part
        kind, _, name = part.get("$ref", "").removeprefix("#/components/").partition("/")
        if name and kind != "schemas":
            return resolved(document["components"][kind][name])
        return {key: resolved(value) for key, value in part.items()}

    whole: Json = resolved(document)
    return whole


@dataclass(frozen=True, slots=True)
class Place:
    """A target of a body: the list by POST, or a task by PUT."""

    client: Client
    method: str
    task: Json

    def send(self, body: bytes | Iterator[bytes], headers: dict[str, str] = JSON) -> httpx.Response:
        path = self.client.tasks if self.method == "POST" else one(self.client, self.task)
        return self.client.request(self.method, path, content=body, headers=headers)

    def refuses(self, body: bytes | Iterator[bytes], code: str, *errors: tuple[str, str, str], **headers: str) -> None:
        assert_problem(self.send(body, headers or JSON), code, *errors)
        assert listed(self.client) == [self.task], "a rejected request changed something"
