"""Metrics: the table, what is counted of a request and a statement, the text, and the sum over processes."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from time import perf_counter

import msgspec
import pytest

from adapters.postgres.statements import GET
from application import StorageUnavailable
from entrypoints.cli import serve
from entrypoints.http.server.exchange import Exchange
from entrypoints.metrics import shared
from entrypoints.metrics.observers import RequestMetrics, StatementMetrics
from entrypoints.metrics.samples import Sample, added_up, one
from entrypoints.metrics.shared import SharedFolder
from entrypoints.metrics.sources import process_samples
from entrypoints.metrics.table import (
    ACCESS_REJECTED,
    ACTIVE_REQUESTS,
    FEED_LAG,
    METRICS,
    OPEN_FILES,
    REPLAYS,
    REQUEST_DURATION,
    START_TIME,
    Metric,
)
from entrypoints.metrics.text import exposition
from entrypoints.settings import Settings
from entrypoints.start import StartError
from tests.expositions import checked, parsed, value

DURATION = REQUEST_DURATION.name


def text(samples: Iterator[Sample], *, is_open_metrics: bool = False) -> str:
    return exposition(added_up(samples), is_open_metrics=is_open_metrics).decode()


def ended(
    status: int, code: str | None = None, *, method: str | None = "GET", route: str | None = "/r", seconds: float = 0.0
) -> Exchange:
    exchange = Exchange(method=method, path="/secret", request_id="r", started=perf_counter() - seconds)
    exchange.status, exchange.problem_code, exchange.route = status, code, route
    return exchange


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_names_are_those_of_a_convention_or_our_own(metric: Metric) -> None:
    assert re.match("(http_server|db_client|process|hextasks)_[a-z_]+$", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert [*metric.buckets] == sorted(metric.buckets)


def test_metrics_need_an_admin_port() -> None:
    admin = {"ADMIN_PORT": "8001"}
    found = [Settings.load(given, dotenv=None).has_metrics for given in ({}, admin, admin | {"METRICS": "false"})]
    assert found == [False, True, False]


def test_without_a_folder_for_several_processes_the_start_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_MEMORY", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(StartError, match="set TMPDIR, or METRICS=false"), serve._metrics_folder():
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the number")
def test_open_files_are_counted(tmp_path: Path) -> None:
    def count() -> float:
        return value(parsed(text(process_samples())), OPEN_FILES.name)

    before = count()
    with (tmp_path / "one").open("w"), (tmp_path / "two").open("w"):
        assert count() == before + 2


def test_a_request_is_counted_by_method_route_status_and_error() -> None:
    requests = RequestMetrics()
    for exchange in (
        ended(200),
        ended(404, "task_not_found"),
        ended(503, "storage_unavailable"),
        ended(500),
        ended(0),
        ended(400, "malformed_json", method=None, route=None),
        ended(400, "validation_error", method="QQ", route=None),
    ):
        requests.finished(exchange)
    samples = parsed(text(requests.samples()))
    assert {labels: number for (name, labels), number in samples.items() if name == f"{DURATION}_count"} == {
        frozenset({"url_scheme": "http", **labels}.items()): number
        for number, labels in (
            (1, {"http_request_method": "GET", "http_route": "/r", "http_response_status_code": "200"}),
            (1, {"http_request_method": "GET", "http_route": "/r", "http_response_status_code": "404"}),
            (
                1,
                {
                    "http_request_method": "GET",
                    "http_route": "/r",
                    "http_response_status_code": "503",
                    "error_type": "storage_unavailable",
                },
            ),
            (
                1,
                {
                    "http_request_method": "GET",
                    "http_route": "/r",
                    "http_response_status_code": "500",
                    "error_type": "500",
                },
            ),
            (1, {"http_request_method": "GET", "http_route": "/r"}),
            (2, {"http_request_method": "_OTHER", "http_response_status_code": "400"}),
        )
    }


def test_a_bucket_counts_what_took_no_longer() -> None:
    requests = RequestMetrics()
    for seconds in (0.0, 0.06, 0.6, 60.0):
        requests.finished(ended(200, seconds=seconds))
    samples = parsed(text(requests.samples()))
    counts = {
        bound: value(samples, f"{DURATION}_bucket", le=bound) for bound in ("0.005", "0.075", "0.5", "1.0", "10.0")
    }
    assert counts == {"0.005": 1, "0.075": 2, "0.5": 2, "1.0": 3, "10.0": 3}
    assert value(samples, f"{DURATION}_bucket", le="+Inf") == value(samples, f"{DURATION}_count") == 4
    assert 60.66 <= value(samples, f"{DURATION}_sum") < 70


@pytest.mark.slow
def test_rejections_and_replays_are_counted() -> None:
    requests = RequestMetrics()
    replayed, refused = ended(201), ended(401, "token_expired")
    replayed.is_replayed, refused.reason = True, 'A "reason"\\\n'
    for exchange in (replayed, refused, refused, ended(429, "rate_limited"), ended(503, "overloaded")):
        requests.finished(exchange)
    samples = checked(text(requests.samples()))
    assert value(samples, REPLAYS.name) == 1
    assert value(samples, ACCESS_REJECTED.name, code="token_expired", reason='A "reason"\\\n') == 2
    rejected = [
        value(samples, "hextasks_requests_rejected_total", code=code) for code in ("rate_limited", "overloaded")
    ]
    assert rejected == [1, 1]
    assert ("hextasks_requests_rejected_total", frozenset({("code", "shutting_down")})) in samples, "it starts at 0"


def test_a_statement_is_counted_by_name_and_error() -> None:
    statements = StatementMetrics()
    unavailable = StorageUnavailable()
    unavailable.__cause__ = TimeoutError()
    for error in (None, None, unavailable, ValueError()):
        statements.finished(GET, perf_counter() - 0.7, error)
    samples = parsed(text(statements.samples()))
    count = "db_client_operation_duration_seconds_count"
    assert value(samples, count, db_query_summary="task_get", db_system_name="postgresql") == 4
    assert [value(samples, count, error_type=kind) for kind in ("TimeoutError", "ValueError")] == [1, 1]
    assert value(samples, "db_client_operation_duration_seconds_bucket", le="0.5") == 0
    assert value(samples, "db_client_operation_duration_seconds_bucket", le="1.0") == 4


def test_both_formats_say_the_same() -> None:
    requests = RequestMetrics()
    requests.finished(ended(200, seconds=0.3))
    samples = [*requests.samples(), one(START_TIME, 1_795_981_338.0625)]
    plain, openly = text(iter(samples)), text(iter(samples), is_open_metrics=True)
    assert parsed(plain) == parsed(openly, is_open_metrics=True)
    assert "# UNIT http_server_request_duration_seconds seconds" in openly


class TestSeveralProcesses:
    """Each publishes its numbers in one folder."""

    def test_they_are_added_up_whoever_is_asked(self, tmp_path: Path) -> None:
        first, second = SharedFolder(tmp_path), SharedFolder(tmp_path)
        first.publish([one(REPLAYS, 3), one(ACTIVE_REQUESTS, 2), one(FEED_LAG, 0.5), one(START_TIME, 20)])
        second.publish([one(REPLAYS, 4), one(ACTIVE_REQUESTS, 1), one(FEED_LAG, 0.25), one(START_TIME, 10)])
        expected = {REPLAYS: {(): [7]}, ACTIVE_REQUESTS: {(): [3]}, FEED_LAG: {(): [0.5]}, START_TIME: {(): [10]}}
        assert first.total() == second.total() == expected

    def test_a_process_that_is_replaced_makes_no_counter_fall(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        requests = RequestMetrics()
        requests.finished(ended(200))
        stays, killed = SharedFolder(tmp_path), SharedFolder(tmp_path)
        stays.publish([one(REPLAYS, 1), one(ACTIVE_REQUESTS, 1)])
        killed.publish(chain(requests.samples(), [one(ACTIVE_REQUESTS, 1)]))
        before = stays.total()
        os.close(killed._lock)  # as the system does
        replaced = SharedFolder(tmp_path)
        assert stays.total() == before
        replaced.publish([one(ACTIVE_REQUESTS, 5)])
        after = stays.total()
        assert (after.pop(ACTIVE_REQUESTS), before.pop(ACTIVE_REQUESTS)) == ({(): [6]}, {(): [2]})
        assert after == before
        replaced.publish(requests.samples())
        ((numbers),) = stays.total()[REQUEST_DURATION].values()
        assert numbers[0] == 2
        replaced.close([one(REPLAYS, 1), one(ACTIVE_REQUESTS, 5)])
        assert stays.total()[REPLAYS] == {(): [2]}
        assert stays.total()[ACTIVE_REQUESTS] == {(): [1]}
        monkeypatch.setattr(shared, "STALE_SECONDS", -1)
        assert stays.total()[REPLAYS] == {(): [2]}
        assert ACTIVE_REQUESTS not in stays.total(), "no process runs that has any"
        assert len([*tmp_path.glob("*.json")]) == 2

    def test_what_another_version_has_published_stops_nothing(self, tmp_path: Path) -> None:
        unknown, changed = Sample("hextasks_unknown_total", (), [1]), Sample(REQUEST_DURATION.name, ("GET",), [1, 2])
        published = shared._Published(0, [unknown, changed, one(REPLAYS, 3)])
        (tmp_path / "0.json").write_bytes(msgspec.json.encode(published))
        (tmp_path / "1.json").write_bytes(b"[")
        first, second = SharedFolder(tmp_path), SharedFolder(tmp_path)
        first.publish([one(REPLAYS, 1)])
        assert second.total() == {REPLAYS: {(): [4]}}
