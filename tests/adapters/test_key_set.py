"""Which entries of a key set verify tokens: no entry costs another its use, whatever it holds."""

import base64
import json
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from adapters.tokens.key_set import MAX_ENTRIES, RSA_BITS, KeySet, KeySetError, read_key_set
from tests.issuers import OTHER, PRIVATE, TO_JWK, published

TELL_TALE = base64.urlsafe_b64encode(b"tell-tale" * 5).decode()
GOOD = published("ES256", kid="good")


@cache
def rsa_of(bits: int) -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def without(entry: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != name}


def read(*entries: object) -> KeySet:
    return read_key_set(json.dumps({"keys": entries}).encode())


UNUSABLE: dict[str, tuple[object, str]] = {
    "null": (None, "not an object"),
    "text": (TELL_TALE, "not an object"),
    "a list": ([GOOD], "not an object"),
    "nothing": ({}, "its type is not supported"),
    "a secret": ({"kty": "oct", "k": TELL_TALE}, "its type is not supported"),
    "a secret without k": ({"kty": "oct"}, "its type is not supported"),
    **{
        f"a secret for {alg}": ({"kty": "oct", "k": TELL_TALE, "alg": alg}, "its type is not supported")
        for alg in ("HS256", "EdDSA", "RS256", "none")
    },
    "a secret and a public key": ({**published("RS256"), "kty": "oct", "k": TELL_TALE}, "its type is not supported"),
    "a type that is no text": ({**GOOD, "kty": ["EC"]}, "its type is not supported"),
    "a curve that is no text": ({**GOOD, "crv": {"P-256": 1}}, "its type is not supported"),
    "another curve": ({"kty": "OKP", "crv": "X25519", "x": TELL_TALE}, "its type is not supported"),
    "no curve": (without(published("EdDSA"), "crv"), "its type is not supported"),
    "P-384 called ES256": (
        json.loads(TO_JWK["ES256"](ec.generate_private_key(ec.SECP384R1()).public_key())) | {"alg": "ES256"},
        "its type is not supported",
    ),
    "alg none": ({**GOOD, "alg": "none"}, "its algorithm is not supported"),
    "alg is a list": ({**GOOD, "alg": ["ES256"]}, "its algorithm is not supported"),
    "alg of secrets": ({**published("RS256"), "alg": "HS256"}, "its algorithm is not supported"),
    "alg of another type": ({**published("RS256"), "alg": "ES256"}, "its algorithm is not supported"),
    "alg of another padding": ({**published("RS256"), "alg": "PS256"}, "its algorithm is not supported"),
    "for encryption": ({**GOOD, "use": "enc"}, "it is not for signatures"),
    "for signing": ({**GOOD, "key_ops": ["sign"]}, "it is not for signatures"),
    "operations are text": ({**GOOD, "key_ops": "verify"}, "it is not for signatures"),
    **{f"kid {kid!r}": ({**GOOD, "kid": kid}, "its id is not text") for kid in (7, True, ["good"], {"good": 1})},
    "a private key": (json.loads(TO_JWK["EdDSA"](PRIVATE["EdDSA"])), "its private part is published"),
    "a private RSA key": (
        json.loads(RSAAlgorithm.to_jwk(PRIVATE["RS256"])) | {"key_ops": None},
        "its private part is published",
    ),
    "a point that is not on the curve": ({**GOOD, "x": GOOD["y"], "y": GOOD["x"]}, "malformed"),
    "a short point": ({**GOOD, "x": GOOD["x"][:-4]}, "malformed"),
    "no point": (without(GOOD, "y"), "malformed"),
    "a number as text": ({**published("RS256"), "n": 7}, "malformed"),
    "no base64": ({**published("EdDSA"), "x": "\u00fc\ud800"}, "malformed"),
    "exponent 1": ({**published("RS256"), "e": "AQ"}, "malformed"),
    "weak RSA": (published("RS256", rsa_of(1024)), "its size is not 2048 to 8192 bits"),
    "huge RSA": (
        {**published("RS256"), "n": base64.urlsafe_b64encode(b"\xff" * 4096).decode()},
        "its size is not 2048 to 8192 bits",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("entry", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_entry_is_ignored_for_its_reason_and_costs_no_other(entry: object, reason: str) -> None:
    found = read(published("EdDSA", kid="first"), entry, GOOD)
    assert found.ignored == {1: reason}
    assert list(found.keys) == [("first", "EdDSA"), ("good", "ES256")]


@pytest.mark.parametrize(
    ("entry", "algorithm"),
    [
        *[(published(algorithm, alg=algorithm, use="sig", key_ops=["verify"]), algorithm) for algorithm in PRIVATE],
        *[(published(algorithm, alg=None, use=None, key_ops=None, kid=None), algorithm) for algorithm in PRIVATE],
        (published("EdDSA", ed448.Ed448PrivateKey.generate()), "EdDSA"),
        (published("RS256", x5c=["no matter"], x5t=7), "RS256"),
    ],
)
def test_a_usable_entry_names_its_algorithm_or_leaves_it_to_its_type(entry: dict[str, Any], algorithm: str) -> None:
    assert list(read(entry).keys) == [(entry["kid"], algorithm)]


def test_of_keys_with_one_id_and_algorithm_the_first_is_used() -> None:
    first, second = published("EdDSA", kid="one"), published("EdDSA", OTHER, kid="one")
    found = read({**first, "x": "unusable"}, first, second, published("ES256", kid="one"))
    assert list(found.keys) == [("one", "EdDSA"), ("one", "ES256")]
    assert found.keys["one", "EdDSA"] == PRIVATE["EdDSA"].public_key()
    assert found.ignored == {0: "malformed", 2: "its id is repeated"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        *[(content, "not JSON") for content in (b"", b"\xff", b"{", b"[" * 100_000, b"9" * 5000)],
        *[(content, "not a key set") for content in (b"[]", b"null", b"{}", b'{"keys": {}}', b'{"keys": "x"}')],
        (json.dumps({"keys": [GOOD] * (MAX_ENTRIES + 1)}).encode(), f"more than {MAX_ENTRIES} keys"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_key_set_is_an_error(content: bytes, reason: str) -> None:
    with pytest.raises(KeySetError, match=f"^{reason}$"):
        read_key_set(content)


def test_an_empty_set_is_a_set() -> None:
    assert read() == KeySet(keys={}, ignored={})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["EC", "RSA", "oct", "none"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "k", "alg", "use", "key_ops", "kid"])
entries = json_values | st.builds(
    lambda entry, changed, removed: {k: v for k, v in {**entry, **changed}.items() if k not in removed},
    st.sampled_from([*map(published, PRIVATE), {"kty": "oct", "k": TELL_TALE, "alg": "HS256"}]),
    st.dictionaries(names, json_values | st.sampled_from(["EdDSA", "RS256", "P-256", "Ed25519", TELL_TALE])),
    st.sets(names, max_size=2),
)
REASONS = {reason for _, reason in UNUSABLE.values()} | {"its id is repeated"}


@pytest.mark.slow
@given(before=st.lists(entries, max_size=3), after=st.lists(entries, max_size=3))
def test_no_entries_cost_a_good_one_its_use_or_add_a_key_that_fits_no_algorithm(
    before: list[Any], after: list[Any]
) -> None:
    found = read(*before, published("EdDSA", OTHER, kid="the good one"), *after)
    assert found.keys["the good one", "EdDSA"] == OTHER.public_key()
    assert len(found.keys) + len(found.ignored) == len(before) + len(after) + 1
    assert set(found.ignored.values()) <= REASONS
    for (_, algorithm), key in found.keys.items():
        assert type(key) is type(PRIVATE[algorithm].public_key())
        assert not isinstance(key, RSAPublicKey) or key.key_size in RSA_BITS


@given(content=st.binary() | json_values.map(lambda value: json.dumps({"keys": value}).encode()))
def test_any_content_is_a_set_or_the_one_error(content: bytes) -> None:
    with suppress(KeySetError):
        assert not read_key_set(content).keys
