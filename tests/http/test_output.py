"""Responses are kept no longer than needed, and arrive, in order, whatever else happens to their connections."""

import asyncio
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from entrypoints.http.server.admission import Admission
from entrypoints.http.server.limits import ServerLimits
from entrypoints.http.server.output import SHARED_FROM, Output, WriteBatch
from tests.http.test_pipelining import LIVE, post
from tests.http.wire import connected, listed, statuses
from tests.services import Service
from tests.wires import reset_when_closed

LIMITS = ServerLimits(max_concurrent_requests=100, request_seconds=1)


class Transport(asyncio.Transport):
    """Records what is written, until it is closed. Its client reads everything but the last piece."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed
        self.last = data
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def get_write_buffer_size(self) -> int:
        return 0


class Broken(Transport):
    """Cannot be written to."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise OSError


@pytest.fixture
def admission() -> Admission:
    admission = Admission(LIMITS)
    admission.in_progress = SHARED_FROM
    return admission


def outputs(admission: Admission, *transports: Transport) -> list[Output]:
    batch = WriteBatch(admission)
    return [Output(transport, lambda: None, batch) for transport in transports]


def test_a_response_that_is_written_is_kept_no_longer(admission: Admission) -> None:
    body = bytes(200_000)
    references = sys.getrefcount(body)
    [output] = outputs(admission, transport := Transport())
    output.write_large(b"", body)
    assert sum(map(len, transport.written)) == len(body)
    assert output.held_bytes == 0
    assert sys.getrefcount(body) == references


async def test_a_response_is_written_at_once_while_few_requests_are_in_progress(admission: Admission) -> None:
    admission.in_progress -= 1
    [output] = outputs(admission, transport := Transport())
    output.write_last(b"all")
    assert transport.written == [b"all"]


async def test_responses_of_many_are_written_in_the_next_iteration(admission: Admission) -> None:
    one, other = outputs(admission, first := Transport(), second := Transport())
    one.write_last(b"1")
    admission.in_progress = 0  # all of them are complete now
    other.write_last(b"2")
    one.write_last(b"3")
    assert not first.written + second.written
    await asyncio.sleep(0)
    assert (first.written, second.written) == ([b"13"], [b"2"])
    other.write_last(b"4")
    assert second.written == [b"2", b"4"]


@pytest.mark.parametrize(
    ("act", "written"),
    [
        (lambda output: output.write(b"more"), [b"last", b"more"]),
        (lambda output: output.write_large(b"head", b"body"), [b"last", b"head", b"body"]),
        (Output.flush, [b"last"]),
        (Output.end, [b"last"]),
        (lambda output: output.evict(is_unread=False), [b"last"]),
        (Output.close, []),
    ],
)
async def test_nothing_overtakes_a_response_or_ends_before_it(
    admission: Admission, act: Callable[[Output], Any], written: list[bytes]
) -> None:
    [output] = outputs(admission, transport := Transport())
    output.write_last(b"last")
    act(output)
    assert transport.written == written
    await asyncio.sleep(0)
    assert transport.written == written


async def test_one_that_cannot_be_written_keeps_none_of_the_others_back(admission: Admission) -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
    transports = [Transport(), Broken(), Transport(), Broken(), Transport()]
    for output in outputs(admission, *transports):
        output.write_last(b"all")
    for _ in range(3):
        await asyncio.sleep(0)
    asyncio.get_running_loop().set_exception_handler(None)
    assert [transport.written for transport in transports] == [[b"all"], [], [b"all"], [], [b"all"]]
    assert len(failures) == 2


def test_clients_that_send_no_more_get_every_response_beside_some_that_reset(service: Service) -> None:
    with service.client() as ada:
        for _ in range(3):
            with ExitStack() as stack:
                connections = [stack.enter_context(connected(service)) for _ in range(3 * SHARED_FROM)]
                for connection in connections:
                    connection.sendall(post(ada, "first") + LIVE + post(ada, "last"))
                    connection.shutdown(socket.SHUT_WR)
                for connection in connections[::3]:
                    reset_when_closed(connection)
                    connection.close()
                del connections[::3]
                assert [statuses(connection) for connection in connections] == [[201, 200, 201]] * len(connections)
        titles = [task["title"] for task in listed(ada)]
        assert titles.count("first") >= titles.count("last") >= 3 * 2 * SHARED_FROM
