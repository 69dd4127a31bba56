"""The rate limit of one user, and that it does not affect others."""

import math
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoints.http.api.rate_limit import RateLimit
from tests.http.wire import assert_problem, dereferenced, made, one
from tests.services import Service, running_service

BURST, PER_SECOND = 5, 0.01  # so slow that no permit is added during a test


@pytest.fixture(scope="module")
def limited() -> Iterator[Service]:
    with running_service(
        DATABASE_URL="memory://",
        RATE_LIMIT_BURST=str(BURST),
        RATE_LIMIT_PER_SECOND=str(PER_SECOND),
        CORS_ORIGINS="https://app.example.com",
    ) as service:
        yield service


def test_a_user_above_the_limit_gets_retry_after_and_other_users_are_served(limited: Service) -> None:
    with limited.client() as busy, limited.client() as other:
        task = made(busy)
        path = dereferenced(busy.get("/openapi.json").json())["paths"]["/api/{user_id}/tasks/{task_id}"]
        described = path["get"]["responses"]["200"]["headers"]
        for left in range(BURST - 2, -1, -1):
            answer = busy.get(one(busy, task))
            assert answer.status_code == 200
            assert answer.headers["ratelimit-policy"] == f'"user";q={BURST};w={BURST / PER_SECOND:.0f}'
            assert answer.headers["ratelimit"].startswith(f'"user";r={left};t=')
            for name in ("RateLimit", "RateLimit-Policy"):
                assert re.search(described[name]["schema"]["pattern"], answer.headers[name])
        refused = busy.get(one(busy, task), headers={"Origin": "https://app.example.com"})
        assert_problem(refused, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 1 / PER_SECOND
        assert refused.headers["ratelimit"].startswith('"user";r=0;t=')
        assert "RateLimit" in refused.headers["access-control-expose-headers"]
        assert_problem(busy.delete(one(busy, task)), "rate_limited")
        assert_problem(busy.get(other.tasks), "rate_limited")
        assert made(other)["version"] == 1
        assert busy.get("/health/ready").status_code == 200


def test_requests_with_invalid_tokens_do_not_count_against_the_user(limited: Service) -> None:
    with limited.client() as ada:
        for _ in range(BURST * 2):
            answer = ada.get(ada.tasks, headers={"Authorization": "Bearer forged"})
            assert_problem(answer, "token_invalid")
            assert "ratelimit" not in answer.headers
        assert ada.get(ada.tasks).status_code == 200


def test_without_a_limit_its_headers_are_absent(service: Service) -> None:
    with service.client() as ada:
        assert not [name for name in ada.get(ada.tasks).headers if "ratelimit" in name]


@given(
    burst=st.integers(1, 20),
    per_second=st.sampled_from([0.1, 0.3, 1.0, 3.0, 10.0, 1000.0]),
    pauses=st.lists(st.floats(0, 10), max_size=200),
)
def test_a_bucket_matches_the_plain_model(burst: int, per_second: float, pauses: list[float]) -> None:
    """The model: permits that are added at a steady rate, up to the burst."""
    limit, now, permits = RateLimit(burst=burst, per_second=per_second), 1000.0, float(burst)
    for pause in pauses:
        now += pause
        permits = min(burst, permits + pause * per_second)
        passed = limit.take("ada", now).wait == 0
        if abs(permits - 1) > 1e-3:  # closer than that, either result is correct
            assert passed == (permits > 1)
        permits -= passed
        if not passed:
            wait = limit.take("ada", now).wait
            assert wait == pytest.approx(math.ceil((1 - permits) / per_second), abs=1)
            assert limit.take("ada", now + wait).wait == 0
            permits = min(burst, permits + wait * per_second) - 1
            now += wait


def test_full_buckets_are_removed() -> None:
    limit = RateLimit(burst=10, per_second=10)
    for number in range(1000):
        limit.take(f"user {number}", now=number * 0.01)
    assert len(limit._full_at) < 20
