"""The service, and two new users for each test. Clients are reused, because creating one is slow."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.browser import Browser, running_browser
from tests.databases import STORAGES, Server
from tests.http.wire import Place, claims, made, token
from tests.services import Client, Service, running_service


@pytest.fixture(scope="session")
async def service_database_url(server: Server) -> str:
    return await server.new_database()


@pytest.fixture(scope="session", params=STORAGES)
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """The whole service on a real socket, once with every adapter. Each test uses users of its own.

    The coverage is measured with the memory adapter only; that of the PostgreSQL adapter by the contract tests.
    """
    is_memory = request.param == "memory"
    url = "memory://" if is_memory else request.getfixturevalue("service_database_url")
    with running_service(is_measured=is_memory, DATABASE_URL=url, CORS_ORIGINS="https://app.example.com") as service:
        yield service


@pytest.fixture(scope="session")
def clients(service: Service) -> Iterator[tuple[Client, Client]]:
    with service.client() as one, service.client() as another:
        yield one, another


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def me(clients: tuple[Client, Client]) -> Client:
    return _renewed(clients[0], f"me-{uuid4()}")


@pytest.fixture
def other(clients: tuple[Client, Client]) -> Client:
    return _renewed(clients[1], f"other-{uuid4()}")


@pytest.fixture(params=["POST", "PUT"])
def place(me: Client, request: pytest.FixtureRequest) -> Place:
    return Place(me, request.param, made(me, "as it was"))


def _renewed(client: Client, user: str) -> Client:
    client.user = user
    client.tasks = f"/api/{user}/tasks"
    client.headers["Authorization"] = f"Bearer {token(claims(user))}"
    return client
