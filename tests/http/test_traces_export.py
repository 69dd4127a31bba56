"""The export of spans: at a stop, without a collector, and of what fails."""

import logging
import socket
from contextlib import suppress
from uuid import uuid4

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from adapters.postgres import Database, Statement
from application import StorageUnavailable
from entrypoints.http.server.asgi import App
from entrypoints.http.server.exchange import Exchange
from entrypoints.traces import open_traces
from entrypoints.traces.requests import Traces
from tests.collector import attributes, running_collector
from tests.patience import eventually
from tests.services import running_service
from tests.wires import free_port

LATER = "3600000"
ALIVE = Statement(name="alive", sql="SELECT 1", is_read=True)
BROKEN = Statement(name="broken", sql="SELECT 1 / 0")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    return monkeypatch


def traces() -> Traces:
    opened, _ = open_traces(has_statements=False)
    assert opened
    return opened


async def respond(*_: object) -> None:
    """An application that does nothing."""


async def trace_request(traces: Traces, app: App = respond) -> str:
    """Trace a request, as the layer calls the application and the observer, and return its trace."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    exchange = Exchange.begin(scope)
    await traces.around(app)(scope, None, None)
    traces.finished(exchange)
    assert exchange.trace
    return exchange.trace.trace_id


def test_a_stop_exports_the_spans_that_are_left(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_BSP_SCHEDULE_DELAY", LATER)
    trace_id = uuid4().hex
    with running_collector() as collector:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with running_service(DATABASE_URL="memory://") as service, service.client() as me:
            me.get(me.tasks, headers={"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"})
            assert not collector.everything()
        assert [span.trace_id.hex() for span in collector.everything()] == [trace_id]


async def test_a_stop_does_not_wait_for_a_collector_that_does_not_answer(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_BSP_SCHEDULE_DELAY", LATER)
    environment.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        opened = traces()
        await trace_request(opened)
        opened.close(seconds=0.1)
        connection, _ = silent.accept()
        with connection:
            connection.setblocking(False)
            assert connection.recv(10) == b"POST /v1/t", "whose answer is still awaited"
            with suppress(BlockingIOError):
                while connection.recv(65_536):
                    pass


async def test_without_a_collector_spans_are_dropped_and_one_line_says_so(
    environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hextasks.traces")
    for name, value in {"SCHEDULE_DELAY": "5", "MAX_QUEUE_SIZE": "32", "MAX_EXPORT_BATCH_SIZE": "8"}.items():
        environment.setenv(f"OTEL_BSP_{name}", value)
    environment.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.01")
    port = free_port()
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    opened = traces()
    for _ in range(500):
        await trace_request(opened)
    eventually(lambda: len(caplog.messages) > 0)
    with running_collector(port) as collector:
        sent = {await trace_request(opened)}
        while sent.isdisjoint(span.trace_id.hex() for span in collector.everything()):
            sent.add(await trace_request(opened))
        opened.close()
    # After these, a busy machine may exceed the short time limit again.
    assert caplog.messages[:2] == ["spans_not_exported", "spans_exported_again"]
    assert 0 < caplog.records[1].__dict__["fields"]["lost"] < 500, "others did not fit into the queue"


def test_an_unavailable_database_is_an_error_of_the_request(environment: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StorageUnavailable

    trace_id = uuid4().hex
    with running_collector() as collector:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with running_service(DATABASE_URL="memory://") as service, service.client() as me:
            environment.setattr(service.container.tasks(), "list", fail)
            assert me.get(me.tasks, headers={"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}).status_code == 503
        (request,) = collector.trace(trace_id)
    assert request.status.code == Status.STATUS_CODE_ERROR
    assert attributes(request.attributes)["error.type"] == "storage_unavailable"


@pytest.mark.database
async def test_an_error_of_a_statement_is_its_sqlstate(environment: pytest.MonkeyPatch, server_url: str) -> None:
    with running_collector() as collector:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        opened, observers = open_traces(has_statements=True)
        database = Database(server_url, observers=observers)
        assert opened

        async def app(*_: object) -> None:
            with suppress(Exception):
                await database.fetch(BROKEN)

        trace_id = await trace_request(opened, app)
        await database.fetch(ALIVE)
        await database.close()
        opened.close()
        _, statement = collector.trace(trace_id)
        assert len(collector.everything()) == 2, "what no request waits for has no span"
    assert (statement.name, statement.status.code) == ("broken", Status.STATUS_CODE_ERROR)
    assert attributes(statement.attributes)["db.response.status_code"] == "22012"
