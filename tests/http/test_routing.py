"""Paths and methods: HEAD, OPTIONS, 404 and 405, and the order of the checks."""

from itertools import combinations
from typing import ClassVar

import pytest

from tests.http.wire import JSON, assert_problem, bearer, in_memory, listed, made, raw, some_id
from tests.services import Client, Service

pytestmark = in_memory
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
ROUTES = {
    "/api/{user}/tasks": {"GET", "HEAD", "POST", "OPTIONS"},
    "/api/{user}/tasks/{id}": {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"},
    "/api/{user}/tasks/{id}/complete": {"PATCH", "OPTIONS"},
    "/health/live": {"GET", "HEAD", "OPTIONS"},
    "/health/ready": {"GET", "HEAD", "OPTIONS"},
    "/openapi.json": {"GET", "HEAD", "OPTIONS"},
    "/docs": {"GET", "HEAD", "OPTIONS"},
}
each_route = pytest.mark.parametrize("route", ROUTES)


def allowed(allow: str) -> set[str]:
    methods = [method.strip() for method in allow.split(",")]
    assert len(methods) == len(set(methods))
    return set(methods)


class TestMethods:
    @each_route
    @pytest.mark.parametrize("method", METHODS)
    def test_an_unsupported_method(self, me: Client, route: str, method: str) -> None:
        if method in ROUTES[route]:
            answer = me.request(method, route.format(user=me.user, id=made(me)["id"]), json={"title": "x"})
            assert answer.status_code in (200, 201, 204)
        else:
            answer = me.request(method, route.format(user=me.user, id=some_id()))
            assert_problem(answer, "method_not_allowed", body=method != "HEAD")
            assert allowed(answer.headers["allow"]) == ROUTES[route]

    @each_route
    def test_options_lists_the_methods(self, me: Client, route: str) -> None:
        answer = me.options(route.format(user=me.user, id=some_id()))
        assert (answer.status_code, answer.content) == (204, b"")
        assert allowed(answer.headers["allow"]) == ROUTES[route]

    @pytest.mark.parametrize("route", [route for route, methods in ROUTES.items() if "HEAD" in methods])
    def test_head_is_get_without_its_body(self, me: Client, route: str) -> None:
        path = route.format(user=me.user, id=made(me)["id"])
        (got, head) = (me.request(method, path, headers={"X-Request-ID": "same"}) for method in ("GET", "HEAD"))
        assert (head.status_code, head.content) == (200, b"")
        assert {**head.headers, "date": ""} == {**got.headers, "date": ""}
        assert int(head.headers["content-length"]) == got.num_bytes_downloaded > 0

    def test_a_rejected_head_has_no_body_either(self, service: Service, me: Client) -> None:
        assert_problem(me.head(f"{me.tasks}/{some_id()}"), "task_not_found", body=False)
        assert_problem(raw(service, "HEAD", me.tasks), "token_missing", body=False)


@pytest.mark.parametrize(
    "path",
    [
        *["/nowhere", "/api", "/api/ada", "/api//tasks", "/API/ada/tasks", "/health", "/health/other", "/schema"],
        *["/api/ada/tasks/1/2", "/api/ada/tasks/1/complete/2", "/api/ada/task", "/favicon.ico", "/docs/other"],
        *["/docs/assets/other.js", "/docs/assets/..%2f..%2fapp.py", "/docs/assets/%2e%2e", "/%00"],
        *["/%FF", "/api%2Fada%2Ftasks", "/app", "/app/assets/index.html", "/app/assets/..%2froutes.py"],
    ],
)  # fmt: skip
def test_an_unknown_path(service: Service, path: str) -> None:
    for method in ("GET", "HEAD") if "/assets/" in path else ("GET", "HEAD", "POST", "DELETE"):
        assert_problem(raw(service, method, path), "route_not_found", body=method != "HEAD")


class TestOrder:
    """Token, then owner, then input, then existence: of two errors, the earlier one is reported."""

    WRONG = ("token", "owner", "input", "existence")
    CODES: ClassVar = {"token": "token_missing", "owner": "forbidden", "existence": "task_not_found"}
    INPUTS: tuple[tuple[str, str, str, dict[str, str], bytes | None, str], ...] = (
        ("GET", "", "?nonsense=1", {}, None, "validation_error"),
        ("GET", "", "", {"If-None-Match": '"x",' * 101}, None, "validation_error"),
        ("DELETE", "", "", {"If-Match": "nonsense"}, None, "validation_error"),
        ("DELETE", "", "", {"Idempotency-Key": '"'}, None, "validation_error"),
        ("PATCH", "/complete", "", {"If-Match": "nonsense"}, None, "validation_error"),
        ("PATCH", "/complete", "", {"Idempotency-Key": '"'}, None, "validation_error"),
        ("PATCH", "/complete", "", {"Idempotency-Key": '"', "If-Match": '"1", "2"'}, None, "validation_error"),
        ("PUT", "", "", JSON, b"{", "malformed_json"),
        ("PUT", "", "", JSON, b"{}", "validation_error"),
        ("PUT", "", "", JSON, b'{"title": " "}', "validation_error"),
        ("PUT", "", "", JSON | {"If-Match": "nonsense"}, b'{"title": "x"}', "validation_error"),
        ("PUT", "", "", JSON | {"Idempotency-Key": '"'}, b'{"title": "x"}', "validation_error"),
        ("PUT", "", "?limit=1", JSON, b'{"title": "x"}', "validation_error"),
        ("PUT", "", "", {"Content-Type": "text/plain"}, b'{"title": "x"}', "unsupported_media_type"),
        ("PUT", "", "", JSON, b'{"title": "x"}'.ljust(65_537), "body_too_large"),
    )

    @pytest.mark.parametrize("pair", list(combinations(WRONG, 2)), ids="-before-".join)
    @pytest.mark.parametrize(("method", "end", "query", "headers", "body", "code"), INPUTS)
    def test_the_earlier_check_decides(
        self,
        service: Service,
        me: Client,
        other: Client,
        pair: tuple[str, str],
        method: str,
        end: str,
        query: str,
        headers: dict[str, str],
        body: bytes | None,
        code: str,
    ) -> None:
        asked, wrong = (other if "owner" in pair else me), pair[0]
        task = made(asked)
        if "input" not in pair:
            query, headers = "", JSON if body else {}
            body = b'{"title": "x"}' if body else None
        token = [] if "token" in pair else [bearer(me)]
        for asked_id in ("0197f4a6-9d3c-7b1e-8f2a-3c5d7e9f1a2b", "not-an-id") if "existence" in pair else (task["id"],):
            answer = raw(service, method, f"{asked.tasks}/{asked_id}{end}{query}", [*token, *headers.items()], body)
            errors = answer.json().get("errors", []) if wrong == "input" else []  # their places have tests of their own
            found = [(*next(iter(error.items())), error["code"]) for error in errors]
            assert_problem(answer, code if wrong == "input" else self.CODES[wrong], *found)
        assert listed(asked) == [task]
