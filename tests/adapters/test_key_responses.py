"""What an issuer may respond: known keys are used until it publishes usable ones, and nothing ends the refresher."""

import asyncio
import gzip
import json
import time
import tracemalloc
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.tokens import KeysUnavailable
from adapters.tokens.remote_keys import MAX_BYTES, RemoteKeySet, is_fetchable
from entrypoints.log_writer import encode_json
from entrypoints.logs import fields_of
from tests.issuers import OTHER, Issuer, code_of, published, token, verifier
from tests.patience import eventually

HOSTILE = {
    **{
        name: json.dumps({"keys": keys}).encode()
        for name, keys in {
            "empty": [],
            "alg none": [published("EdDSA", alg="none")],
            "kid is a list": [published("EdDSA", kid=["tell-tale"])],
            "a secret": [{"kty": "oct", "k": "tell-tale" * 5, "kid": "EdDSA"}],
            "a secret without k": [{"kty": "oct", "kid": "EdDSA"}],
            "many": [{"kid": "tell-tale" * 100, "x": "tell-tale"}] * 100,
        }.items()
    },
    "no JSON": b"tell-tale",
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "no list": b'{"tell-tale": 1}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.slow
async def test_no_response_ends_the_refresher_or_the_use_of_known_keys(
    issuer: Issuer, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    caplog.set_level("INFO", "hextasks.keys")
    judge = verifier(keys := RemoteKeySet(issuer.url, refresh=0.001, cool_down=30))
    async with keys.running():
        await judge.user_id(withdrawn := token("EdDSA"))
        issuer.body = body
        await refreshed(issuer)
        assert await judge.user_id(token("ES256")) == "ada"
        issuer.body = json.dumps({"keys": [{"kty": "EC", "alg": "none"}, published("EdDSA", OTHER)]}).encode()
        await refreshed(issuer)
        assert await judge.user_id(token("EdDSA", OTHER)) == "ada"
        for given in (withdrawn, token("EdDSA"), token("ES256")):
            assert await code_of(judge, given) == "token_invalid"
    lines = [(record.levelname, record.msg, record.fields) for record in caplog.records]  # type: ignore[attr-defined]
    assert [level for level, _, _ in lines] == ["INFO", "ERROR" if "keys" in body.decode() else "WARNING", "INFO"]
    assert "tell-tale" not in str(lines)
    assert all(len(str(line)) < 1000 for line in lines)


async def refreshed(issuer: Issuer) -> None:
    """Wait for three more requests, so that the response to the second of them has been read."""
    asked = issuer.asked
    await asyncio.to_thread(eventually, lambda: issuer.asked >= asked + 3)


@pytest.mark.slow
async def test_after_a_failure_a_withdrawn_key_is_rejected_without_waiting_for_the_next_refresh(issuer: Issuer) -> None:
    judge = verifier(keys := RemoteKeySet(issuer.url, refresh=3600, cool_down=0.01))
    assert await judge.user_id(withdrawn := token("EdDSA")) == "ada"
    issuer.status = 500
    async with keys.running():
        await refreshed(issuer)
        issuer.status, issuer.keys = 200, [published("EdDSA", OTHER)]
        await asyncio.to_thread(eventually, lambda: keys.generation == 2)
        assert await code_of(judge, withdrawn) == "token_invalid"


async def test_an_issuer_without_a_usable_key_at_first_is_asked_until_it_has_one(issuer: Issuer) -> None:
    issuer.body = b'{"keys": []}'
    judge = verifier(keys := RemoteKeySet(issuer.url, refresh=0.001, cool_down=0.0))
    async with keys.running():
        with pytest.raises(KeysUnavailable):
            await judge.user_id(token())
        issuer.body = b""
        await asyncio.to_thread(eventually, lambda: keys.count > 0)
        assert await judge.user_id(token()) == "ada"


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 302, "headers": {"Location": "/elsewhere"}},
        {"body": b"no JSON"},
        {"body": b"[]"},
        {"body": b'{"keys": 7}'},
        {"body": b'{"keys": []}'},
        {"body": b'{"keys": [{"kty": "EC", "alg": "none"}]}'},
        {"body": b'{"keys": [' + b" " * MAX_BYTES + b"]}"},
        {"body": gzip.compress(b'{"keys": []}'), "headers": {"Content-Encoding": "gzip"}},
    ],
    ids=["500", "redirect", "no JSON", "a list", "a number", "empty", "unusable", "too large", "compressed"],
)
async def test_the_last_known_keys_are_used_while_the_issuer_is_unavailable(
    issuer: Issuer, fault: dict[str, Any]
) -> None:
    keys = RemoteKeySet(issuer.url, cool_down=0.0)
    judge = verifier(keys)
    assert await judge.user_id(token("EdDSA")) == "ada"
    for name, value in fault.items():
        setattr(issuer, name, value)
    assert await code_of(judge, token("EdDSA", OTHER, kid="new")) == "token_invalid"
    assert issuer.asked == 2
    assert await judge.user_id(token("ES256")) == "ada"


@pytest.mark.slow
async def test_a_compressed_response_is_not_expanded(issuer: Issuer) -> None:
    issuer.body = gzip.compress(b" " * 30_000_000)
    issuer.headers = {"Content-Encoding": "gzip"}
    tracemalloc.start()
    try:
        with pytest.raises(KeysUnavailable):
            await RemoteKeySet(issuer.url).find(None, "EdDSA")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.slow
async def test_a_response_in_many_small_pieces_is_bounded_in_time(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.tokens.remote_keys.TIMEOUT_SECONDS", 0.3)
    issuer.seconds_per_byte = 0.05
    started = time.monotonic()
    with pytest.raises(KeysUnavailable):
        await RemoteKeySet(issuer.url).find(None, "EdDSA")
    assert 0.3 <= time.monotonic() - started < 3


async def test_ids_in_the_log_are_ascii_and_bounded(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "hextasks.keys")
    issuer.keys = [published("EdDSA", kid=f"\ud800\n\u2028{n}" + "x" * 1000) for n in range(50)]
    keys = RemoteKeySet(issuer.url)
    assert await keys.find("unknown", "EdDSA") is None
    assert keys.count == 50
    (record,) = caplog.records
    line = encode_json(fields_of(record)).decode().rstrip()
    assert len(line) < 1500
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize(
    "url",
    [
        *[
            "https://id.example/jwks",
            "http://keycloak:8080/realms/a/certs?x=1",
            "http://[::1]:1/",
            "HTTPS://ID.example",
        ],
        *["https://b\u00fccher.example/jwks", "https://xn--bcher-kva.example/jwks", "http://my_issuer/j%20wks"],
    ],
)
def test_urls_from_which_keys_can_be_fetched(url: str) -> None:
    assert is_fetchable(url)


@pytest.mark.parametrize(
    "url",
    [
        *["", "id.example/jwks", "//id.example", "https:", "https://", "https:///jwks", "ftp://id.example"],
        *["https://id.example:0", "https://id.example:65536", "https://id.example:x", "https://id.example:-1"],
                *["https://a..b/", "https://999.1.1.1/", "https://[::1", "https://[x]/", "https://xn--/"],
        *["http://:1", "file:///x", "https://" + "a" * 64],
        *["https://ada:secret@id.example", "https://id.example/#keys", "https://id.example/\n", "https://id.example/\0"],
        *["https://i d.example/", "https://\ud800.example/", "https://id.example/\ud800", "https://" + "a" * 99_999],
    ],
    ids=lambda url: ascii(url[:30]),
)  # fmt: skip
def test_urls_from_which_no_keys_can_be_fetched(url: str) -> None:
    assert not is_fetchable(url)


@given(url=st.from_regex(r"(https?|ftp)://[^/]{0,9}(/.*)?", fullmatch=True) | st.text())
def test_any_text_is_a_url_or_not(url: str) -> None:
    if is_fetchable(url):
        assert httpx.Request("GET", url).url.host
