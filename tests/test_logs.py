"""How the log is written: in order, without blocking, and with a limited rate of each kind of failure."""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entrypoints import logs
from entrypoints.log_writer import LogWriter, encode_json
from entrypoints.logs import FailureLog, fields_of
from tests.patience import eventually, until

FILLING = b"x" * 1000 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        try:
            os.close(end)
        except OSError:
            continue  # the test has closed it


def read(pipe: int, count: int) -> bytes:
    received = b""
    while received.count(b"\n") < count:
        received += os.read(pipe, 1 << 20)
    return received


class TestWriter:
    def test_all_lines_of_all_threads_are_written_in_the_order_of_each(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
        writer = LogWriter(descriptor)

        def write(name: int) -> None:
            for n in range(1000):
                writer.write(b"%d %d\n" % (name, n))

        threads = [threading.Thread(target=write, args=[name]) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.flush(20)
        os.close(descriptor)
        lines = [line.split() for line in path.read_text().splitlines()]
        for name in "0123":
            assert [int(n) for which, n in lines if which == name] == [*range(1000)]

    @pytest.mark.slow
    def test_a_single_line_is_not_delayed(self, pipe: tuple[int, int]) -> None:
        reading, writing = pipe
        LogWriter(writing).write(b"alone\n")
        assert read(reading, 1) == b"alone\n"

    @pytest.mark.parametrize("bounds", [{"max_lines": 100}, {"max_bytes": 100_000}])
    @pytest.mark.slow
    def test_a_stalled_reader_costs_lines_and_neither_time_nor_memory(
        self, pipe: tuple[int, int], bounds: dict[str, Any]
    ) -> None:
        reading, writing = pipe
        writer = LogWriter(writing, **bounds)
        began = time.monotonic()
        for _ in range(10_000):
            writer.write(FILLING)
        writer.flush(0.05)
        assert time.monotonic() - began < 5
        received = b""
        while b"log_lines_dropped" not in received:
            received += os.read(reading, 1 << 20)
        *kept, last = received.splitlines()
        line = json.loads(last)
        assert len(kept) + line["count"] == 10_000
        assert writer.dropped_total == line["count"]
        assert len(kept) < 250
        assert (line["level"], line["logger"]) == ("WARNING", "hextasks.log")
        writer.flush(5.0)  # until it accepts lines again
        writer.write(b"after\n")
        assert read(reading, 1) == b"after\n"

    @pytest.mark.slow
    def test_a_descriptor_that_another_process_made_non_blocking_loses_nothing(self, pipe: tuple[int, int]) -> None:
        reading, writing = pipe
        os.set_blocking(writing, False)
        writer = LogWriter(writing)
        for _ in range(500):
            writer.write(FILLING)
        assert read(reading, 500) == FILLING * 500

    def test_a_closed_reader_does_not_stop_it(self, pipe: tuple[int, int]) -> None:
        reading, writing = pipe
        writer = LogWriter(writing)
        os.close(reading)
        began = time.monotonic()
        for _ in range(3):
            writer.write(FILLING)
            writer.flush(10)
        assert time.monotonic() - began < 5


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(encode_json(fields_of(record))))


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("hextasks.test")
    logger.addHandler(handler)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def failures(lines: Lines) -> FailureLog:
    return FailureLog(logging.getLogger("hextasks.test"), every=0.1)


class Outage(Exception):
    pass


class DriverError(Exception):
    sqlstate = "57P01"


def outage() -> Outage:
    try:
        try:
            raise DriverError("the row with a secret")
        except DriverError as cause:
            raise Outage from cause
    except Outage as error:
        return error


def fault(number: int = 0) -> Exception:
    try:
        raise RuntimeError(f"secret {number}")
    except RuntimeError as error:
        return error


class TestFailures:
    def test_an_outage_is_one_line_without_a_stack(self, failures: FailureLog, lines: Lines) -> None:
        failures.expected("storage_unavailable", outage(), request_id="one")
        (line,) = lines.lines
        assert (line["level"], line["message"], line["request_id"]) == ("WARNING", "storage_unavailable", "one")
        assert line["error"] == {
            "type": f"{__name__}.Outage",
            "cause": {"type": f"{__name__}.DriverError", "sqlstate": "57P01"},
        }

    def test_a_fault_keeps_its_stack_but_not_its_message(self, failures: FailureLog, lines: Lines) -> None:
        failures.unexpected("internal_error", fault(), request_id="one")
        (line,) = lines.lines
        assert (line["level"], line["request_id"]) == ("ERROR", "one")
        assert line["error"]["stack"][-1].endswith(" fault")
        assert "secret" not in json.dumps(line)

    @pytest.mark.slow
    def test_repeated_failures_are_one_line_a_second_with_the_number_suppressed(
        self, failures: FailureLog, lines: Lines
    ) -> None:
        for n in range(1000):
            failures.expected("storage_unavailable", outage())
            failures.unexpected("internal_error", fault(n))
        counts = {level: [line for line in lines.lines if line["level"] == level] for level in ("WARNING", "ERROR")}
        assert all(1 <= len(found) < 20 for found in counts.values())
        time.sleep(0.1)
        failures.expected("storage_unavailable", outage())
        failures.unexpected("internal_error", fault())
        for level in counts:
            found = [line for line in lines.lines if line["level"] == level]
            assert sum(1 + line.get("suppressed", 0) for line in found) == 1001

    def test_another_kind_is_logged_at_once(self, failures: FailureLog, lines: Lines) -> None:
        failures.expected("storage_unavailable", outage())
        failures.expected("overloaded", outage())
        failures.unexpected("internal_error", fault())
        failures.unexpected("internal_error", ValueError())
        assert [line["message"] for line in lines.lines] == [
            "storage_unavailable",
            "overloaded",
            "internal_error",
            "internal_error",
        ]

    @pytest.mark.slow
    async def test_the_end_of_a_storm_is_reported(self, failures: FailureLog, lines: Lines) -> None:
        for n in range(1000):
            failures.expected("storage_unavailable", outage())
            failures.unexpected("internal_error", fault(n))

        async def has_been_counted() -> bool:
            for code in ("storage_unavailable", "internal_error"):
                told = [line for line in lines.lines if line["message"] == code]
                rest = [line for line in lines.lines if line.get("code") == code]
                if len(told) + sum(line.get("suppressed", 0) for line in (*told, *rest)) < 1000:
                    return False
            return True

        await until(has_been_counted)

    def test_a_kind_beyond_the_bound_costs_no_number(self, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs, "MAX_KINDS", 1)
        failures = FailureLog(logging.getLogger("hextasks.test"), every=3600)
        for code in ("overloaded", "overloaded", "overloaded", "storage_unavailable"):
            failures.expected(code, outage())
        assert [line["message"] for line in lines.lines] == ["overloaded", "failures_suppressed", "storage_unavailable"]
        told = lines.lines[1]
        assert (told["level"], told["code"], told["suppressed"]) == ("WARNING", "overloaded", 2)
        assert told["error"] == {"type": f"{__name__}.Outage"}

    @pytest.mark.slow
    def test_kinds_are_bounded(self, failures: FailureLog, lines: Lines) -> None:
        for n in range(3000):
            failures.expected(f"code {n}", outage())
        assert len(failures._kinds) <= 1000
        eventually(lambda: len(lines.lines) == 3000)
