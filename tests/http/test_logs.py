"""The log: one line of JSON per request, rejected ones included; no secrets, no titles."""

import json
import logging
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from entrypoints.log_writer import encode_json
from entrypoints.logs import fields_of
from tests.http.wire import JSON, Headers, Json, bearer, claims, connected, made, raw, some_id, token
from tests.services import Client, Service

SECRET_TITLE = "a title that nobody else may read"


class Lines(logging.Handler):
    """The log as an operator sees it, at level DEBUG."""

    def __init__(self, service: Service) -> None:
        super().__init__(logging.DEBUG)
        self.service = service
        self.written: SimpleQueue[bytes] = SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("httpx", "httpcore")):  # these are the tests' own client
            self.written.put(encode_json(fields_of(record)))

    def so_far(self) -> list[Json]:
        """Return the lines of all requests so far: they precede the line of one more request."""
        last = some_id()
        raw(self.service, "GET", "/health/live", [("X-Request-ID", last)])
        lines: list[Json] = []
        while not lines or lines[-1].get("request_id") != last:
            lines.append(json.loads(self.written.get(timeout=10)))
        return lines[:-1]


@pytest.fixture
def lines(service: Service) -> Iterator[Lines]:
    handler, root = Lines(service), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    service.access_lines.append(handler.written.put)
    yield handler
    service.access_lines.remove(handler.written.put)
    root.removeHandler(handler)
    root.setLevel(level)


LIST = "/api/{user_id}/tasks"
REQUESTS = {
    "list": ("GET", "/api/{me}/tasks?limit=7", 200, LIST, "me", None),
    "create": ("POST", "/api/{me}/tasks", 201, LIST, "me", None),
    "get": ("GET", "/api/{me}/tasks/{id}", 200, LIST + "/{task_id}", "me", None),
    "head": ("HEAD", "/api/{me}/tasks/{id}", 200, LIST + "/{task_id}", "me", None),
    "update": ("PUT", "/api/{me}/tasks/{id}", 200, LIST + "/{task_id}", "me", None),
    "complete": ("PATCH", "/api/{me}/tasks/{id}/complete", 200, LIST + "/{task_id}/complete", "me", None),
    "delete": ("DELETE", "/api/{me}/tasks/{id}", 204, LIST + "/{task_id}", "me", None),
    "invalid": ("GET", "/api/{me}/tasks?limit=0", 400, LIST, "me", "validation_error"),
    "forbidden": ("GET", "/api/somebody/tasks", 403, LIST, "me", "forbidden"),
    "missing": ("GET", "/api/{me}/tasks/x", 404, LIST + "/{task_id}", "me", "task_not_found"),
    "no route": ("GET", "/nowhere/{id}", 404, None, None, "route_not_found"),
    "no method": ("DELETE", "/health/live", 405, None, None, "method_not_allowed"),
    "health": ("GET", "/health/ready", 200, "/health/ready", None, None),
}


@pytest.mark.parametrize(("method", "path", "status", "route", "user", "code"), REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_has_one_line(
    service: Service,
    me: Client,
    lines: Lines,
    method: str,
    path: str,
    status: int,
    route: str | None,
    user: str | None,
    code: str | None,
) -> None:
    path = path.format(me=me.user, id=made(me)["id"])
    lines.so_far()
    body = json.dumps({"title": SECRET_TITLE}).encode() if method in ("POST", "PUT") else None
    answer = raw(service, method, path, [bearer(me), ("X-Request-ID", "the-one"), *JSON.items()], body)
    assert answer.status_code == status
    (line,) = [line for line in lines.so_far() if line["logger"] == "hextasks.request"]
    assert isinstance(line.pop("duration_ms"), float)
    assert line.pop("time").endswith("Z")
    expected = {
        "level": "INFO",
        "logger": "hextasks.request",
        "message": "request",
        "method": method,
        "route": route,
        "status": status,
        "request_id": "the-one",
        "user_id": me.user if user else None,
        "code": code,
    }
    if code == "forbidden":
        expected["reason"] = "The path names another user."
    assert line == (expected if route else {**expected, "path": path})


def test_a_request_that_its_client_traces_is_named_by_the_clients_span(service: Service, lines: Lines) -> None:
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    lines.so_far()
    raw(service, "GET", "/nowhere", [("traceparent", f"00-{trace_id}-{span_id}-00")])
    raw(service, "GET", "/nowhere", [("traceparent", "nonsense")])
    traced, other = lines.so_far()
    assert (traced["trace_id"], traced["span_id"]) == (trace_id, span_id)
    assert not {"trace_id", "span_id"} & other.keys()


def test_a_path_without_a_route_is_logged_up_to_a_length_and_without_its_query(service: Service, lines: Lines) -> None:
    lines.so_far()
    raw(service, "GET", f"/%C3%A9/{'x' * 1000}?token=secret")
    (line,) = [line for line in lines.so_far() if line["logger"] == "hextasks.request"]
    assert line["path"] == "/%C3%A9/" + "x" * 248


def test_a_malformed_request_has_a_line(service: Service, lines: Lines) -> None:
    lines.so_far()
    with connected(service) as connection:
        connection.sendall(b"garbage\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
    (line,) = [line for line in lines.so_far() if line["logger"] == "hextasks.request"]
    assert (line["method"], line["route"], line["status"], line["code"]) == (None, None, 400, "validation_error")


REJECTED: dict[str, tuple[str, str, Headers]] = {
    "missing": ("token_missing", "Send the header: Authorization: Bearer <token>.", []),
    "invalid": ("token_invalid", "The token is malformed.", [("Authorization", "Bearer nonsense-that-is-secret")]),
    "forged": (
        "token_invalid",
        "The token's signature does not match.",
        [("Authorization", f"Bearer {token(claims('ada'), key='another key that is long enough')}")],
    ),
    "expired": (
        "token_expired",
        "The token has expired.",
        [("Authorization", f"Bearer {token(claims('ada', exp=1))}")],
    ),
    "forbidden": (
        "forbidden",
        "The path names another user.",
        [("Authorization", f"Bearer {token(claims('grace'))}")],
    ),
}


@pytest.mark.parametrize(("code", "reason", "headers"), REJECTED.values(), ids=REJECTED.keys())
def test_a_rejected_request_has_one_line_with_the_reason(
    service: Service, lines: Lines, code: str, reason: str, headers: Headers
) -> None:
    lines.so_far()
    answer = raw(service, "GET", "/api/ada/tasks", [*headers, ("X-Request-ID", "rejected-one")])
    assert answer.json()["code"] == code
    (line,) = lines.so_far()
    assert (line["logger"], line["code"], line["reason"]) == ("hextasks.request", code, reason)
    assert (line["request_id"], line["method"], line["route"]) == ("rejected-one", "GET", LIST)
    assert line["user_id"] == ("grace" if code == "forbidden" else None)


def test_an_accepted_request_has_no_reason(service: Service, me: Client, lines: Lines) -> None:
    lines.so_far()
    for path in (me.tasks, f"{me.tasks}/none", "/nowhere", "/health/ready"):
        raw(service, "GET", path, [bearer(me)])
    assert [line.get("reason") for line in lines.so_far()] == [None] * 4


def test_no_token_and_no_title_is_ever_written(service: Service, me: Client, lines: Lines) -> None:
    task = made(me, SECRET_TITLE)
    path = f"{me.tasks}/{task['id']}"
    query = f"?access_token={bearer(me)[1].split()[1]}"
    for method, target, body in [
        ("PUT", path, {"title": SECRET_TITLE + " either"}),
        ("PUT", path, {"title": [SECRET_TITLE]}),
        ("PUT", path, {"title": "x", SECRET_TITLE: 1}),
        ("PUT", path, {"title": SECRET_TITLE * 20}),
        ("POST", f"{me.tasks}?title={SECRET_TITLE.replace(' ', '+')}", {"title": SECRET_TITLE}),
        ("GET", me.tasks + query, None),
        ("GET", "/nowhere" + query, None),
        ("PATCH", path + "/complete", None),
        ("DELETE", path, None),
    ]:
        content = None if body is None else json.dumps(body).encode()
        raw(service, method, target, [bearer(me), *JSON.items()], content)
        raw(service, method, target, [("Authorization", bearer(me)[1] + "x"), *JSON.items()], content)
        raw(service, method, target, [*JSON.items()], content)
    written = json.dumps(lines.so_far())
    assert written.count("hextasks.request") >= 27
    for secret in (SECRET_TITLE, "nobody", bearer(me)[1].split()[1], bearer(me)[1].split(".")[1], "access_token"):
        assert secret not in written
