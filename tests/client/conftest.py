"""The service for the client, and a proxy before it that loses requests and responses."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import httpx
import pytest

from adapters.tokens import issue_token
from hextasks.client import TasksClient, UserTasksClient
from tests.client.unsteady import Unsteady
from tests.services import SECRET, Service, running_service


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    with running_service(is_measured=False, DATABASE_URL="memory://") as service:
        yield service


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=False) as http:  # no TLS here, and loading its roots takes a while
        yield http


@pytest.fixture(scope="session")
async def unsteady(service: Service) -> AsyncIterator[Unsteady]:
    async with Unsteady(service.url).running() as unsteady:
        yield unsteady


@pytest.fixture
def user() -> str:
    return f"user/{uuid4()}"


@pytest.fixture
def token(user: str) -> str:
    return issue_token(SECRET, user)


@pytest.fixture
def me(service: Service, http: httpx.AsyncClient, user: str, token: str) -> UserTasksClient:
    return TasksClient(service.url, token=token, http=http).of(user)


@pytest.fixture
def shaken(unsteady: Unsteady, http: httpx.AsyncClient, user: str, token: str) -> UserTasksClient:
    """The same user's calls through the proxy."""
    unsteady.faults.clear()
    unsteady.requests.clear()
    return TasksClient(unsteady.url, token=token, http=http).of(user)
