"""What every response has in common: request ids, security headers, CORS; and the health probes."""

import pytest

from tests.http.wire import assert_problem, bearer, is_new_uuid, made, one, raw, some_id
from tests.services import Client, Service

ORIGIN = "https://app.example.com"
EVERYWHERE = {
    "success": ("GET", "/api/{user}/tasks", True, 200),
    "creation": ("POST", "/api/{user}/tasks", True, 400),
    "unchanged": ("GET", "/api/{user}/tasks/{id}", True, 304),
    "deletion": ("DELETE", "/api/{user}/tasks/{id}", True, 204),
    "no token": ("GET", "/api/{user}/tasks", False, 401),
    "another user": ("GET", "/api/somebody/tasks", True, 403),
    "no task": ("GET", "/api/{user}/tasks/none", True, 404),
    "no route": ("GET", "/nowhere", False, 404),
    "no method": ("PUT", "/health/live", False, 405),
    "odd method": ("PROPFIND", "/api/{user}/tasks", True, 405),
    "options": ("OPTIONS", "/health/live", False, 204),
    "head": ("HEAD", "/health/ready", False, 200),
    "docs": ("GET", "/docs", False, 200),
    "assets": ("GET", "/docs/assets/swagger.css", False, 200),
}
SIMPLE = {name: call for name, call in EVERYWHERE.items() if call[0] != "OPTIONS"}  # which would be a preflight
SECURITY = {
    "cache-control",
    "content-security-policy",
    "cross-origin-resource-policy",
    "referrer-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
}
ARGUMENTS = ("method", "path", "known", "status")
everywhere = pytest.mark.parametrize(ARGUMENTS, EVERYWHERE.values(), ids=EVERYWHERE.keys())


def headers_for(client: Client, known: bool, status: int, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the headers that cause this status."""
    tag = [("If-None-Match", "*")] if status == 304 else []
    return [*([bearer(client)] if known else []), *tag, *more]


class TestRequestId:
    @everywhere
    def test_every_answer_carries_one_and_the_security_headers(
        self, service: Service, me: Client, method: str, path: str, known: bool, status: int
    ) -> None:
        path = path.format(user=me.user, id=made(me)["id"])
        for more in ([("X-Request-ID", "client-7:a.b_c+d/e=")], []):
            answer = raw(service, method, path, headers_for(me, known, status, *more))
            if method == "DELETE":
                path = one(me, made(me))
            assert answer.status_code == status
            (given,) = answer.headers.get_list("x-request-id")
            assert is_new_uuid(given) if not more else given == more[0][1]
            assert {name for name, _ in answer.headers.items()} >= SECURITY

    @pytest.mark.parametrize(
        "given", ["1", "x" * 128, "0f8fad5b-d9cb-469f-a165-70867728950e", "Root=1-67891233-abcdef012345678912345678"]
    )
    def test_a_plain_one_is_kept(self, service: Service, given: str) -> None:
        assert raw(service, "GET", "/health/live", [("X-Request-ID", given)]).headers["x-request-id"] == given

    @pytest.mark.parametrize("given", ["", " ", "x" * 129, "a b", 'a"b', "{}", "a,b", "\u00fc", "<b>", "x" * 9000])
    def test_another_is_replaced(self, service: Service, given: str) -> None:
        answer = raw(service, "GET", "/nowhere", [("X-Request-ID", given.encode())])
        assert is_new_uuid(answer.headers["x-request-id"])
        assert_problem(answer, "route_not_found")

    def test_two_ids_are_both_replaced(self, service: Service) -> None:
        answer = raw(service, "GET", "/health/live", [("X-Request-ID", "one"), ("X-Request-ID", "two")])
        assert is_new_uuid(answer.headers["x-request-id"])


class TestCors:
    @pytest.mark.parametrize(ARGUMENTS, SIMPLE.values(), ids=SIMPLE.keys())
    def test_a_page_of_the_known_origin_can_read_every_answer(
        self, service: Service, me: Client, method: str, path: str, known: bool, status: int
    ) -> None:
        path = path.format(user=me.user, id=made(me)["id"])
        answer = raw(service, method, path, headers_for(me, known, status, ("Origin", ORIGIN)))
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "origin" in answer.headers["vary"].lower()
        exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert exposed == {
            *("etag", "idempotency-replayed", "link", "location", "ratelimit", "ratelimit-policy"),
            *("retry-after", "sync-token", "www-authenticate", "x-request-id"),
        }

    @pytest.mark.parametrize(
        "origin",
        ["https://evil.example", "http://app.example.com", "https://app.example.com.evil.example", "null",
         "https://app.example.com:8443", "https://xapp.example.com", "https://app.example.comx"],
    )  # fmt: skip
    def test_a_page_of_another_origin_cannot(self, me: Client, origin: str) -> None:
        for answer in (me.get(me.tasks, headers={"Origin": origin}), me.get("/nowhere", headers={"Origin": origin})):
            assert "access-control-allow-origin" not in answer.headers

    def test_a_request_without_an_origin_gets_no_cors_headers(self, me: Client) -> None:
        assert not [name for name in me.get(me.tasks).headers if name.startswith("access-control-")]

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
    def test_a_preflight_allows_what_the_service_offers(self, service: Service, method: str) -> None:
        asked = "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, x-request-id"
        answer = raw(
            service,
            "OPTIONS",
            f"/api/ada/tasks/{some_id()}",
            [
                ("Origin", ORIGIN),
                ("Access-Control-Request-Method", method),
                ("Access-Control-Request-Headers", asked),
            ],
        )
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert method in answer.headers["access-control-allow-methods"]
        allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
        assert allowed >= set(asked.split(", "))
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["x-request-id"]

    @pytest.mark.parametrize(
        ("origin", "method", "header"),
        [
            ("https://evil.example", "GET", "authorization"),
            (ORIGIN, "TRACE", "authorization"),
            (ORIGIN, "GET", "x-unheard-of"),
        ],
    )
    def test_a_rejected_preflight_allows_nothing_and_is_a_problem(
        self, service: Service, origin: str, method: str, header: str
    ) -> None:
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": header,
        }
        answer = raw(service, "OPTIONS", "/api/ada/tasks", asked.items())
        assert "access-control-allow-origin" not in answer.headers
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json", answer.text


class TestHealth:
    @pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}])
    def test_a_healthy_service_needs_no_token_to_say_so(
        self, service: Service, path: str, headers: dict[str, str]
    ) -> None:
        answer = raw(service, "GET", path, headers.items())
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["content-type"].partition(";")[0] == "application/json"

    def test_responses_do_not_name_the_server(self, service: Service) -> None:
        assert "server" not in raw(service, "GET", "/health/live").headers
