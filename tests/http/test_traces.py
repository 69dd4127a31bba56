"""Traces as a collector receives them: of real requests on PostgreSQL, over OTLP."""

import asyncio
import json
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.collector import Collector, attributes, running_collector
from tests.http.wire import Json, made
from tests.patience import DEADLINE_SECONDS
from tests.services import Client, Service, running_service

pytestmark = pytest.mark.database

TITLE = "a title that nobody else may read"
TASKS = "/api/{user_id}/tasks"
CLIENT_SPAN = "b7ad6b7169203331"
VALID = f"00-{{}}-{CLIENT_SPAN}-01"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(collector: Collector, service_database_url: str) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        patch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        with running_service(DATABASE_URL=service_database_url) as service:
            yield service


@pytest.fixture
def lines(traced: Service) -> Iterator[SimpleQueue[bytes]]:
    written: SimpleQueue[bytes] = SimpleQueue()
    traced.access_lines.append(written.put)
    yield written
    traced.access_lines.remove(written.put)


@pytest.fixture
def me(traced: Service) -> Iterator[Client]:
    with traced.client() as client:
        yield client


def new_trace() -> str:
    return uuid4().hex


def in_trace(trace_id: str, **headers: str) -> dict[str, str]:
    return {"traceparent": VALID.format(trace_id), **headers}


def next_line(lines: "SimpleQueue[bytes]") -> Json:
    line: Json = json.loads(lines.get(timeout=DEADLINE_SECONDS))
    return line


def test_a_request_and_its_statements_are_spans_of_the_clients_trace(
    me: Client, collector: Collector, lines: "SimpleQueue[bytes]"
) -> None:
    made(me)
    next_line(lines)
    trace_id = new_trace()
    headers = in_trace(trace_id, tracestate="vendor=opaque,other=1")
    created = me.post(me.tasks, json={"title": TITLE}, headers=headers)
    request, statement = collector.trace(trace_id)
    assert (request.name, request.kind) == (f"POST {TASKS}", Span.SPAN_KIND_SERVER)
    assert request.parent_span_id.hex() == CLIENT_SPAN
    assert request.trace_state == "vendor=opaque,other=1"
    assert attributes(request.attributes) == {
        "http.request.method": "POST",
        "http.route": TASKS,
        "http.response.status_code": 201,
        "http.response.header.x-request-id": [created.headers["X-Request-ID"]],
        "url.scheme": "http",
    }
    assert (statement.name, statement.kind) == ("task_add_many", Span.SPAN_KIND_CLIENT)
    assert (statement.parent_span_id, statement.trace_state) == (request.span_id, request.trace_state)
    assert attributes(statement.attributes) == {"db.system.name": "postgresql", "db.query.summary": "task_add_many"}
    assert statement.end_time_unix_nano - statement.start_time_unix_nano > 0
    assert request.start_time_unix_nano <= statement.start_time_unix_nano
    assert statement.end_time_unix_nano <= request.end_time_unix_nano
    assert collector.resource["service.name"] == "hextasks"
    assert collector.resource["deployment.environment.name"] == "test"
    line = next_line(lines)
    assert (line["trace_id"], line["span_id"]) == (trace_id, request.span_id.hex())


async def test_each_request_has_a_span_of_a_statement_that_it_shares(traced: Service, collector: Collector) -> None:
    with traced.client() as me:
        path = f"{me.tasks}/{made(me)['id']}"
        traces = [new_trace() for _ in range(40)]
        async with httpx.AsyncClient(base_url=traced.url, headers=me.headers, verify=False) as client:
            await asyncio.gather(*(client.get(path, headers=in_trace(each)) for each in traces))
    sizes = []
    for each in traces:
        request, statement = await asyncio.to_thread(collector.trace, each)
        assert statement.parent_span_id == request.span_id
        size = attributes(statement.attributes).get("db.operation.batch.size", 1)
        assert statement.name == ("task_get" if size == 1 else "task_get_many")
        sizes.append(size)
    assert max(sizes) > 1
    assert all(sizes.count(size) % size == 0 for size in sizes), "as many spans as calls"


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00-{}-b7ad6b7169203331",
        "00-{}-b7ad6b7169203331-01-more",
        "ff-{}-b7ad6b7169203331-01",
        "00-{}-0000000000000000-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-{}-B7AD6B7169203331-01",
        "00-{}-b7ad6b7169203331-0x",
        "00-é{}-b7ad6b7169203331-01",
    ],
)
def test_a_malformed_traceparent_is_ignored(
    me: Client, collector: Collector, lines: "SimpleQueue[bytes]", traceparent: str
) -> None:
    trace_id = new_trace()
    me.get(me.tasks, headers={b"traceparent": traceparent.format(trace_id).encode()})
    check_new_trace(next_line(lines)["trace_id"], trace_id, collector)


def test_two_traceparents_are_ignored(me: Client, collector: Collector, lines: "SimpleQueue[bytes]") -> None:
    trace_id = new_trace()
    me.get(me.tasks, headers=[("traceparent", VALID.format(trace_id))] * 2)
    check_new_trace(next_line(lines)["trace_id"], trace_id, collector)


def check_new_trace(logged: str, sent: str, collector: Collector) -> None:
    assert logged != sent
    request, _ = collector.trace(logged)
    assert request.parent_span_id == b""


def test_a_later_version_of_traceparent_is_accepted(me: Client, collector: Collector) -> None:
    trace_id = new_trace()
    me.get(me.tasks, headers={"traceparent": f"01-{trace_id}-{CLIENT_SPAN}-01-more"})
    assert collector.trace(trace_id)[0].parent_span_id.hex() == CLIENT_SPAN


def test_a_trace_that_the_client_does_not_record_is_not_exported(
    me: Client, collector: Collector, lines: "SimpleQueue[bytes]"
) -> None:
    trace_id = new_trace()
    me.get(me.tasks, headers={"traceparent": f"00-{trace_id}-{CLIENT_SPAN}-00"})
    assert next_line(lines)["trace_id"] == trace_id
    collector.trace(after(me))
    assert not [span for span in collector.everything() if span.trace_id.hex() == trace_id]


def after(me: Client) -> str:
    """Make one more request, whose spans are exported after all others, and return its trace."""
    me.get(me.tasks, headers=in_trace(trace_id := new_trace()))
    return trace_id


@pytest.mark.parametrize("tracestate", ["x" * 600 + "=1", "=", "a=1,a=2"])
def test_a_malformed_tracestate_is_ignored(me: Client, collector: Collector, tracestate: str) -> None:
    trace_id = new_trace()
    me.get(me.tasks, headers=in_trace(trace_id, tracestate=tracestate))
    assert [span.trace_state for span in collector.trace(trace_id)] == ["", ""]


def test_a_health_probe_has_no_span(me: Client, collector: Collector) -> None:
    trace_id = new_trace()
    me.get("/health/ready", headers=in_trace(trace_id))
    collector.trace(after(me))
    assert not [span for span in collector.everything() if span.trace_id.hex() == trace_id]


def test_a_rejected_request_is_no_error_and_a_request_without_a_route_is_named_by_its_method(
    me: Client, collector: Collector
) -> None:
    for method, path, name, status in [
        ("GET", "/nowhere/secret", "GET", 404),
        ("PROPFIND", f"{me.tasks}", "HTTP", 405),
        ("GET", f"{me.tasks}/{uuid4()}", f"GET {TASKS}/{{task_id}}", 404),
    ]:
        trace_id = new_trace()
        assert me.request(method, path, headers=in_trace(trace_id)).status_code == status
        request = collector.trace(trace_id)[0]
        assert (request.name, request.status.code) == (name, Status.STATUS_CODE_UNSET)
        assert attributes(request.attributes)["http.response.status_code"] == status
        assert "error.type" not in attributes(request.attributes)


def test_the_span_of_a_stream_ends_with_its_head(traced: Service, me: Client, collector: Collector) -> None:
    trace_id = new_trace()
    with me.stream("GET", f"{me.tasks}/events", headers=in_trace(trace_id)) as stream:
        assert next(stream.iter_lines())
        request = collector.trace(trace_id)[0]
        assert request.name == f"GET {TASKS}/events"
        assert attributes(request.attributes)["http.response.status_code"] == 200
        made(me)


def test_an_unavailable_database_is_an_error_of_both_spans(me: Client, collector: Collector) -> None: ...


def test_no_span_has_anything_of_a_user(me: Client, collector: Collector) -> None:
    path = f"{me.tasks}/{made(me, TITLE)['id']}"
    me.put(path, json={"title": TITLE + "!"})
    me.get(me.tasks, params={"q": TITLE})
    me.put(path, json={"title": TITLE * 20})
    me.delete(path)
    collector.trace(after(me))
    exported: Any = "".join(str(span) for span in collector.everything())
    for secret in ("nobody", me.user, "secret", path.rpartition("/")[2], me.headers["Authorization"]):
        assert secret not in exported
