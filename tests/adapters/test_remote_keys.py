"""An issuer's published keys, from a real HTTP server on this machine, with tokens signed by real keys."""

import asyncio
import time

import pytest

from adapters.tokens import KeysUnavailable
from adapters.tokens.keys import PublicKey
from adapters.tokens.remote_keys import MAX_WAITING, RemoteKeySet
from tests.forgeries import forgeries
from tests.issuers import OTHER, PRIVATE, Issuer, code_of, published, token, verifier


@pytest.mark.parametrize("algorithm", PRIVATE)
async def test_tokens_as_of_real_issuers_are_accepted(issuer: Issuer, algorithm: str) -> None:
    judge = verifier(RemoteKeySet(issuer.url))
    assert await judge.user_id(token(algorithm)) == "ada"
    assert await judge.user_id(token(algorithm, kid=None)) == "ada", "no id is needed if only one key fits"
    assert await code_of(judge, token(algorithm, exp=int(time.time()) - 60)) == "token_expired"
    assert issuer.asked == 1


async def test_forged_tokens_are_rejected(issuer: Issuer) -> None:
    judge = verifier(RemoteKeySet(issuer.url))
    for name, given in forgeries(issuer.url).items():
        assert await code_of(judge, given) == "token_invalid", name
    assert issuer.asked <= 2, "an unknown key triggers one fetch"


@pytest.mark.slow
async def test_unknown_keys_do_not_keep_many_waiting_for_a_slow_issuer(issuer: Issuer) -> None:
    judge = verifier(RemoteKeySet(issuer.url, cool_down=0.0))
    assert await judge.user_id(token("EdDSA")) == "ada"
    issuer.delay = 1.0
    calls = [asyncio.create_task(judge.user_id(token(kid=f"unknown {n}"))) for n in range(100)]
    done, waiting = await asyncio.wait(calls, timeout=0.2)
    assert {type(call.exception()) for call in done} == {KeysUnavailable}
    assert len(waiting) == MAX_WAITING
    assert await judge.user_id(token("ES256")) == "ada"
    for call in waiting:
        call.cancel()
    await asyncio.wait(waiting)


async def test_rotation_needs_no_restart_and_a_withdrawn_key_is_rejected_at_once(issuer: Issuer) -> None:
    judge = verifier(RemoteKeySet(issuer.url, cool_down=0.0))
    assert await judge.user_id(token("EdDSA")) == "ada"
    issuer.keys = [published("EdDSA", OTHER, kid="new")]
    assert await judge.user_id(token("EdDSA", OTHER, kid="new")) == "ada", "an unknown id triggers a fetch at once"
    assert await code_of(judge, token("EdDSA")) == "token_invalid", "though it was accepted before"
    issuer.keys = [published("EdDSA", kid="new")]
    await code_of(judge, token(kid="unknown"))
    assert await code_of(judge, token("EdDSA", OTHER, kid="new")) == "token_invalid", "its id names another key"


async def test_all_unknown_ids_together_trigger_one_fetch_per_cool_down(issuer: Issuer) -> None:
    judge = verifier(RemoteKeySet(issuer.url, cool_down=30))
    await judge.user_id(token())
    issuer.delay = 0.05
    codes = await asyncio.gather(*(code_of(judge, token(kid=f"unknown {n}")) for n in range(50)))
    issuer.keys = [published("EdDSA", OTHER, kid="new")]
    assert {*codes, await code_of(judge, token("EdDSA", OTHER, kid="new"))} == {"token_invalid"}
    assert issuer.asked <= 2


async def test_until_the_issuer_responds_keys_are_unavailable_rather_than_tokens_invalid(
    issuer: Issuer,
) -> None:
    issuer.status = 503
    keys = RemoteKeySet(issuer.url, refresh=0.05, cool_down=0.0)
    judge = verifier(keys)
    async with keys.running():
        with pytest.raises(KeysUnavailable):
            await judge.user_id(token())
        issuer.status = 200
        async with asyncio.timeout(5):
            while not keys.count:
                await asyncio.sleep(0.01)
        assert await judge.user_id(token()) == "ada"


class Counting(RemoteKeySet):
    """Counts how often a key was needed, so how often a signature was checked."""

    needed = 0

    async def find(self, kid: str | None, algorithm: str) -> PublicKey | None:
        self.needed += 1
        return await super().find(kid, algorithm)


async def test_a_token_is_cached_until_it_expires(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Counting(issuer.url)
    judge = verifier(keys)
    expires = int(time.time()) + 60
    given = token(exp=expires)
    for _ in range(3):
        assert await judge.user_id(given) == "ada"
    assert keys.needed == 1
    monkeypatch.setattr("adapters.tokens.verifier.time.time", lambda: float(expires))
    await judge.user_id(given)
    assert keys.needed == 2


async def test_the_cache_of_tokens_is_bounded(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.tokens.verifier.MAX_REMEMBERED", 2)
    keys = Counting(issuer.url)
    judge = verifier(keys)
    given = [token(sub=f"user {n}") for n in range(3)]
    for each in (*given, *given[1:], given[0]):
        await judge.user_id(each)
    assert keys.needed == 4


@pytest.mark.slow
async def test_the_first_token_waits_for_the_first_keys(issuer: Issuer) -> None:
    issuer.delay = 0.2
    keys = RemoteKeySet(issuer.url)
    async with keys.running():
        await asyncio.sleep(0.05)  # the fetch is under way
        assert await verifier(keys).user_id(token()) == "ada"
    assert issuer.asked == 1
