"""`GET /metrics` on the admin port of a running service: what it shows, to whom, and that its size is bounded."""

import random
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from entrypoints.container import Container
from entrypoints.http.app import create_app
from entrypoints.metrics.service import ServiceMetrics
from entrypoints.metrics.text import OPEN_METRICS, TEXT
from entrypoints.settings import Settings
from hextasks.testing.transport import InProcessTransport
from tests.expositions import Samples, checked, parsed, value
from tests.http.wire import assert_problem, connected, made, one, statuses
from tests.patience import eventually
from tests.services import SECRET, Client, Service, running_service
from tests.wires import free_port

COUNT = "http_server_request_duration_seconds_count"
ROUTE = "/api/{user_id}/tasks"


@pytest.fixture(scope="module")
def admin() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def service(admin: str) -> Iterator[Service]:
    port = admin.rpartition(":")[2]
    with running_service(
        DATABASE_URL="memory://",
        ADMIN_PORT=port,
        RATE_LIMIT_BURST="20",
        RATE_LIMIT_PER_SECOND="0.001",  # no more while a test runs, however slowly
    ) as service:
        yield service


@pytest.fixture
def me(service: Service) -> Iterator[Client]:
    with service.client() as client:
        yield client


def scraped(admin: str) -> Samples:
    return checked(httpx.get(f"{admin}/metrics", verify=False).text)


def test_only_the_admin_port_has_it(service: Service, admin: str) -> None:
    assert_problem(httpx.get(f"{service.url}/metrics", verify=False), "route_not_found")
    answer = httpx.get(f"{admin}/metrics", verify=False)
    assert (answer.status_code, answer.headers["content-type"]) == (200, TEXT.decode())
    assert httpx.head(f"{admin}/metrics", verify=False).headers["content-length"]
    rejected = httpx.post(f"{admin}/metrics", verify=False)
    assert_problem(rejected, "method_not_allowed")
    assert rejected.headers["allow"] == "GET, HEAD"


def test_open_metrics_is_for_those_who_accept_it(service: Service, admin: str) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    answer = httpx.get(f"{admin}/metrics", headers={"Accept": accept}, verify=False)
    assert answer.headers["content-type"] == OPEN_METRICS.decode()
    assert value(parsed(answer.text, is_open_metrics=True), "hextasks_processes") == 1


def test_it_counts_what_happens(service: Service, admin: str, me: Client) -> None:
    before = scraped(admin)
    task = made(me)
    for _ in range(3):
        me.post(me.tasks, json={"title": "Buy tea"}, headers={"Idempotency-Key": "k"})
    me.get(one(me, task))
    me.get(me.tasks, headers={"Authorization": "Bearer nonsense"})
    assert {me.get(me.tasks).status_code for _ in range(20)} == {200, 429}
    after = scraped(admin)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grown(COUNT, http_request_method="POST", http_route=ROUTE, http_response_status_code="201") == 4
    assert grown(COUNT, http_route=f"{ROUTE}/{{task_id}}", http_response_status_code="200") == 1
    assert grown("hextasks_idempotent_replays_total") == 2
    assert grown("hextasks_access_rejected_total", code="token_invalid", reason="The token is malformed.") == 1
    rejected = grown(COUNT, http_response_status_code="429")
    assert grown("hextasks_requests_rejected_total", code="rate_limited") == rejected > 0
    assert value(after, "process_cpu_seconds_total") > value(before, "process_cpu_seconds_total") > 0


def test_streams_and_connections_are_read_when_they_are_asked_for(service: Service, admin: str, me: Client) -> None:
    with me.stream("GET", f"{me.tasks}/events") as events, connected(service):
        lines = events.iter_lines()  # kept, because its end closes the stream
        next(lines)
        found = scraped(admin)
        assert value(found, "hextasks_streams") == 1
        assert value(found, "hextasks_connections", port="public") >= 2
        assert 0 < value(found, "hextasks_feed_lag_seconds") < 60
    eventually(lambda: value(scraped(admin), "hextasks_streams") == 0)
    assert value(scraped(admin), "hextasks_feed_lag_seconds") == 0


def test_a_malformed_request_is_counted(service: Service, admin: str) -> None:
    with connected(service) as connection:
        connection.sendall(b"QQ\r\n\r\n")
        assert statuses(connection) == [400]
    assert value(scraped(admin), COUNT, http_request_method="_OTHER", http_response_status_code="400") >= 1


def test_without_metrics_the_path_does_not_exist() -> None:
    port = free_port()
    with running_service(DATABASE_URL="memory://", ADMIN_PORT=str(port), METRICS="false"):
        assert_problem(httpx.get(f"http://127.0.0.1:{port}/metrics", verify=False), "route_not_found")


async def test_a_thousand_odd_requests_make_no_more_series_than_a_few_and_leave_no_trace_of_users() -> None:
    metrics = ServiceMetrics()
    settings = Settings.load({"DATABASE_URL": "memory://", "JWT_SECRET": SECRET}, dotenv=None)
    app = create_app(Container(settings=settings), metrics=metrics)
    some = random.Random(1)

    async def send(client: httpx.AsyncClient) -> str:
        """Send one request of each kind, with words that are new, and return the word that they have in common."""
        word = f"w{some.getrandbits(64):x}"
        bearer = {"Authorization": f"Bearer {word}.{word}.{word}"}
        for method, path, headers in (
            ("GET", f"/{word}", {}),
            ("GET", f"/api/{word}/tasks?q={word}", {}),
            ("GET", f"/api/{word}/tasks/{uuid4()}", bearer),
            ("POST", f"/api/{word}/tasks", {"Authorization": word}),
            (word.upper(), f"/api/{word}/tasks", {}),
            ("OPTIONS", f"/{word}", {"Origin": f"https://{word}.example.com", "Access-Control-Request-Method": word}),
            ("DELETE", f"/health/live/{word}", {}),
            ("GET", f"/docs/assets/{word}", {"X-Request-ID": word}),
            ("PATCH", f"/api/{word * 100}/tasks/{word}/complete", bearer),
            ("HEAD", f"/page/{word}.js", {"Idempotency-Key": word}),
        ):
            await client.request(method, path, headers=headers)
        return word

    async with httpx.AsyncClient(transport=InProcessTransport(app), base_url="http://service") as client:
        words = [await send(client)]
        first = parsed(metrics.exposition(is_open_metrics=False).decode())
        words += [await send(client) for _ in range(99)]
    text = metrics.exposition(is_open_metrics=False).decode()
    assert parsed(text).keys() == first.keys()
    assert len([name for name, _ in first if name == COUNT]) <= 10
    assert value(parsed(text), COUNT) == 1000
    assert not [word for word in words if word.lower() in text.lower()]
