"""The service with the keys of an issuer such as Better Auth."""

import time
from collections.abc import Iterator

import pytest

from adapters.tokens import issue_token
from tests.databases import STORAGES
from tests.forgeries import forgeries
from tests.http.wire import assert_problem, made, raw
from tests.issuers import AUDIENCE, ISSUER, Issuer, running_issuer, token
from tests.services import SECRET, Service, running_service


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module", params=STORAGES)
def trusting(issuer: Issuer, request: pytest.FixtureRequest) -> Iterator[Service]:
    url = "memory://" if request.param == "memory" else request.getfixturevalue("service_database_url")
    with running_service(
        DATABASE_URL=url, JWT_SECRET="", JWT_JWKS_URL=issuer.url, JWT_ISSUER=ISSUER, JWT_AUDIENCE=AUDIENCE
    ) as service:
        yield service


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_token_of_the_issuer_is_accepted(trusting: Service, algorithm: str) -> None:
    with trusting.client("ada", token(algorithm)) as ada:
        task = made(ada)
        assert ada.get(f"{ada.tasks}/{task['id']}").json() == task
        assert_problem(ada.get("/api/grace/tasks"), "forbidden")


def test_other_tokens_are_rejected(trusting: Service, issuer: Issuer) -> None:
    others = {"the secret that a service may have instead": issue_token(SECRET, "ada"), **forgeries(issuer.url)}
    for name, given in others.items():
        answer = raw(trusting, "GET", "/api/ada/tasks", [("Authorization", f"Bearer {given}")])
        assert answer.json()["code"] == "token_invalid", name
        assert_problem(answer, "token_invalid")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    expired = token(exp=int(time.time()) - 60)
    assert_problem(raw(trusting, "GET", "/api/ada/tasks", [("Authorization", f"Bearer {expired}")]), "token_expired")


def test_until_the_keys_are_fetched_no_token_is_called_invalid() -> None:
    with (
        running_service(DATABASE_URL="memory://", JWT_SECRET="", JWT_JWKS_URL="http://127.0.0.1:1/jwks") as service,
        service.client("ada", token()) as ada,
    ):
        answer = ada.get(ada.tasks)
        assert_problem(answer, "keys_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert ada.get("/health/live").status_code == 200
