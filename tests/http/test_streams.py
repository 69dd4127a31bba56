"""Streams: their bounds, what ends them, and that they take nothing from requests."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx
import pytest

from adapters.postgres.epochs import renew_epochs
from adapters.tokens import LEEWAY_SECONDS, remote_keys
from entrypoints.http.server.streams import Streams
from tests.databases import Server, patient
from tests.http.wire import assert_problem, bearer, claims, connected, made, received_until_end, token
from tests.issuers import AUDIENCE, ISSUER, published, running_issuer
from tests.issuers import token as issued
from tests.patience import eventually
from tests.services import Client, Service, fill, running_service
from tests.streams import following, put
from tests.wires import reset_when_closed

pytestmark = pytest.mark.waits

PER_USER, ALL = 2, 3


@pytest.fixture(scope="module")
def _bounded() -> Iterator[Service]:
    """A service with room for three streams, and one request of at most a second."""
    limits = {"streams": ALL, "streams_per_user": PER_USER, "max_concurrent_requests": 1, "request_seconds": 1.0}
    with running_service(limits=limits, DATABASE_URL="memory://") as service:
        yield service


@pytest.fixture
def bounded(_bounded: Service) -> Service:
    """The same one for each test, once the streams of the one before have ended."""
    eventually(lambda: not streams(_bounded).open)
    return _bounded


def streams(service: Service) -> Streams:
    return service.app.admission.streams


def opened(client: Client, connection: socket.socket) -> None:
    """Open a stream on a connection of the test's own."""
    name, value = bearer(client)
    connection.sendall(f"GET {client.tasks}/events HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"


def assert_rejected(client: Client, code: str) -> httpx.Response:
    """Prove that no stream is opened, and return the problem."""
    with following(client) as stream:
        assert_problem(stream.answer, code)
        return stream.answer


class TestBounds:
    def test_streams_take_neither_the_place_nor_the_time_of_requests(self, bounded: Service) -> None:
        with ExitStack() as stack:
            clients = [stack.enter_context(bounded.client()) for _ in range(ALL)]
            open_streams = [stack.enter_context(following(client)) for client in clients]
            for stream in open_streams:
                next(stream)
            time.sleep(1.5 * bounded.app.limits.request_seconds)
            for client, stream in zip(clients, open_streams, strict=True):
                assert put(client.post(client.tasks, json={"title": "x"})) == next(stream)
            assert bounded.app.admission.in_progress == 0

    def test_one_more_is_rejected_until_another_ends(self, bounded: Service) -> None:
        with bounded.client() as ada, bounded.client() as grace:
            with ExitStack() as stack:
                open_streams = [stack.enter_context(following(ada)) for _ in range(PER_USER)]
                assert all(stream.answer.is_success for stream in open_streams)
                assert int(assert_rejected(ada, "rate_limited").headers["retry-after"]) > 0
                open_streams.append(stack.enter_context(following(grace)))
                assert int(assert_rejected(grace, "overloaded").headers["retry-after"]) > 0
                assert made(ada)["version"] == 1
            eventually(lambda: not streams(bounded).open)
            assert not streams(bounded).open_by_user
            with following(ada) as stream:
                next(stream)

    def test_a_stream_that_fails_to_begin_does_not_count(self, bounded: Service) -> None:
        with bounded.client() as ada:
            for _ in range(ALL + 1):
                assert ada.get(f"{ada.tasks}/events", params={"since": "nonsense"}).status_code == 400
                assert ada.head(f"{ada.tasks}/events").status_code == 200
            assert not streams(bounded).open

    @pytest.mark.database
    def test_no_connection_to_the_database_is_held(self, service_database_url: str) -> None:
        with (
            running_service(
                DATABASE_URL=service_database_url, DATABASE_POOL_SIZE="1", DATABASE_MAX_OVERFLOW="0"
            ) as service,
            ExitStack() as stack,
        ):
            client = stack.enter_context(service.client())
            open_streams = [stack.enter_context(following(client)) for _ in range(5)]
            for stream in open_streams:
                next(stream)
            created = put(client.post(client.tasks, json={"title": "x"}))
            assert [next(stream) for stream in open_streams] == [created] * 5


class TestEnd:
    def test_a_stream_ends_with_its_access_token(self, bounded: Service) -> None:
        expires = int(time.time()) - LEEWAY_SECONDS + 2
        with bounded.client("ada", token(claims("ada", exp=expires))) as ada:
            with following(ada) as stream:
                assert [event.name for event in stream] == ["ready"]
            assert time.time() > expires + LEEWAY_SECONDS - 0.5
            time.sleep(0.5)
            assert_rejected(ada, "token_expired")

    def test_a_stream_ends_after_its_time(self) -> None:
        with (
            running_service(limits={"stream_seconds": 0.5}, DATABASE_URL="memory://") as service,
            service.client() as ada,
        ):
            began = time.monotonic()
            with following(ada) as stream:
                assert [event.name for event in stream] == ["ready"]
            assert time.monotonic() - began > 0.4

    def test_a_stream_ends_before_the_next_event_when_its_key_is_withdrawn(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(remote_keys, "RemoteKeySet", partial(remote_keys.RemoteKeySet, refresh=0.05))
        with (
            running_issuer() as issuer,
            running_service(
                DATABASE_URL="memory://",
                JWT_SECRET="",
                JWT_JWKS_URL=issuer.url,
                JWT_ISSUER=ISSUER,
                JWT_AUDIENCE=AUDIENCE,
            ) as service,
            service.client("ada", issued("EdDSA")) as ada,
            service.client("ada", issued("ES256")) as other_key,
        ):
            with following(ada) as stream, following(other_key) as another:
                next(stream), next(another)
                issuer.keys = [published("ES256")]
                keys: Any = service.container.keys()
                eventually(lambda: keys.count == 1)
                created = put(other_key.post(other_key.tasks, json={"title": "x"}))
                assert next(another) == created
                assert list(stream) == []
            assert_rejected(ada, "token_invalid")

    @pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
    def test_a_stream_ends_with_its_connection(self, bounded: Service, reset: bool) -> None:
        with bounded.client() as ada, connected(bounded) as connection:
            opened(ada, connection)
            assert len(streams(bounded).open) == 1
            if reset:
                reset_when_closed(connection)
            connection.close()
            eventually(lambda: not streams(bounded).open)

    def test_a_client_that_does_not_read_is_disconnected(self) -> None:
        with (
            running_service(limits={"read_seconds": 0.5}, DATABASE_URL="memory://") as service,
            service.client() as ada,
            connected(service) as connection,
        ):
            fill(ada, 3000, "\U0001f600" * 480)  # six megabytes
            name, value = bearer(ada)
            path = f"{ada.tasks}/events?since=000000000000-0"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n".encode())
            eventually(lambda: len(streams(service).open) == 1)
            eventually(lambda: not streams(service).open)
            received, is_reset = received_until_end(connection)
            assert is_reset or received < 6_000_000

    def test_a_stop_ends_streams_at_once_and_completely(self) -> None:
        with ExitStack() as stack:
            with running_service(DATABASE_URL="memory://") as service:
                client = stack.enter_context(service.client())
                stream = stack.enter_context(following(client))
                next(stream)
                began = time.monotonic()
            assert time.monotonic() - began < 4
            assert list(stream) == []  # the last chunk has come, or this would raise


class TestSignal:
    """Where a change was written."""

    def test_in_the_same_process_no_poll_is_needed(self) -> None:
        with running_service(DATABASE_URL="memory://") as service, service.client() as ada:
            service.container.use_cases().follow_changes.signal._poll_seconds = 3600
            with following(ada) as stream:
                next(stream)
                assert put(ada.post(ada.tasks, json={"title": "x"})) == next(stream)

    @pytest.mark.database
    def test_between_two_processes(self, service_database_url: str) -> None:
        url = service_database_url
        with (
            running_service(DATABASE_URL=url) as one,
            running_service(DATABASE_URL=url) as two,
            one.client("ada") as writer,
            two.client("ada") as reader,
            following(reader) as stream,
        ):
            next(stream)
            for n in range(3):
                created = put(writer.post(writer.tasks, json={"title": f"{n}"}))
                began = time.monotonic()
                assert next(stream) == created
                assert time.monotonic() - began < 5  # on a busy machine; half a second on a calm one

    @pytest.mark.database
    async def test_a_restored_backup_is_a_resync(self, server: Server) -> None:
        url = await server.new_database()
        with running_service(DATABASE_URL=url) as service, service.client() as ada, following(ada) as stream:
            next(stream)
            before = put(ada.post(ada.tasks, json={"title": "x"}))
            assert before == next(stream)
            database = patient(url)
            assert await renew_epochs(database) == 1
            await database.close()
            resync = next(stream)
            assert resync.name == "resync"
            assert resync.id not in (None, before.id)
            assert put(ada.post(ada.tasks, json={"title": "y"})) == next(stream)
