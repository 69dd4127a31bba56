"""Which tokens are accepted and which are rejected, and that a rejection never repeats a token's content."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import strategies as st

from adapters.tokens import SharedSecret, TokenError, TokenVerifier, issue_token
from adapters.tokens.verifier import LEEWAY_SECONDS, MAX_TIME
from domain import InvalidText
from tests.issuers import PRIVATE, published

SECRET = "a secret that is thirty-two bytes"
HOUR = 3600
HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: object, claims: object, key: str = SECRET, hash: str = "HS256") -> str:
    """A token with arbitrary content, including what the library does not produce."""
    content = f"{encoded(header)}.{encoded(claims)}"
    return f"{content}.{encoded(hmac.digest(key.encode(), content.encode(), HASHES[hash]))}"


def token(*, without: str = "", **claims: Any) -> str:
    full = {"sub": "tell-tale", "exp": int(time.time()) + HOUR} | claims
    return signed({"alg": "HS256", "typ": "JWT"}, {k: v for k, v in full.items() if k != without})


def with_header(hash: str = "HS256", **header: Any) -> str:
    return signed(
        {"alg": "HS256", "typ": "JWT"} | header, {"sub": "tell-tale", "exp": int(time.time()) + HOUR}, hash=hash
    )


def user_of(given: str, *, secret: str = SECRET, **verifier: Any) -> str:
    with closing(asyncio.new_event_loop()) as loop:
        return loop.run_until_complete(TokenVerifier(SharedSecret(secret), **verifier).user_id(given))


def refusal(given: str, **verifier: Any) -> TokenError:
    with pytest.raises(TokenError) as refused:
        user_of(given, **verifier)
    return refused.value


now = int(time.time())
good = token()
header, claims, signature = good.split(".")
PEM = PRIVATE["EdDSA"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
SSH = PRIVATE["EdDSA"].public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
KEYS_OF_OTHER_KINDS = {
    "PEM": PEM,
    "PEM in one line": PEM.replace("\n", "\\n"),
    "the first line of a PEM": "-----BEGIN ENCRYPTED PRIVATE KEY-----",
    "ssh": SSH,
    "JWK": json.dumps(published("ES256")),
}
UNSIGNED = {
    f"alg {alg}, {name}": f"{encoded({'alg': alg, 'typ': 'JWT'})}.{claims}.{rest}"
    for alg in ("none", "None", "NONE", "nOnE", "", None)
    for name, rest in (("no signature", ""), ("a signature", signature))
}
NO_TIMES: list[Any] = [
    *[None, "tell-tale", ["tell-tale"], {"tell-tale": 1}, "", "9" * 400],
    *[10**12, 10**400, 1e300, float("inf"), float("nan")],
]
INVALID = {
    **UNSIGNED,
    "HS384": with_header("HS384", alg="HS384"),
    "HS512": with_header("HS512", alg="HS512"),
    "HS256 in small letters": with_header(alg="hs256"),
    "RS256 with a shared key": with_header(alg="RS256"),
    "alg is a list": with_header(alg=["HS256"]),
    "alg is a number": with_header(alg=256),
    "no alg": signed({"typ": "JWT"}, {"sub": "tell-tale", "exp": now + HOUR}),
    "unknown critical extension": with_header(crit=["tell_tale"], tell_tale=1),
    "detached payload": with_header(b64=False, crit=["b64"]),
    "key id is no text": with_header(kid=7),
    "another key": signed({"alg": "HS256"}, {"sub": "tell-tale", "exp": now + HOUR}, key="x" * 33),
    "changed claims": f"{header}.{encoded({'sub': 'tell-tale2', 'exp': now + HOUR})}.{signature}",
    "changed header": f"{encoded({'alg': 'HS256', 'typ': 'tell-tale'})}.{claims}.{signature}",
    "cut signature": good[:-6],
    "no signature": f"{header}.{claims}.",
    "no exp": token(without="exp"),
    **{f"{name} is {value!r:.20}": token(**{name: value}) for name in ("exp", "nbf", "iat") for value in NO_TIMES},
    **{f"{name} is a future time as text": token(**{name: f"{now + HOUR}"}) for name in ("exp", "nbf", "iat")},
    "nbf is true": token(nbf=True),
    "nbf is text": token(nbf=f"{now - HOUR}"),
    "iat is true": token(iat=True),
    "iat is text": token(iat=f"{now - HOUR}"),
    "not valid yet": token(nbf=now + HOUR),
    "issued in the future": token(iat=now + HOUR),
    "no sub": token(without="sub"),
    **{f"sub is {sub!r:.20}": token(sub=sub) for sub in (None, 7, True, ["tell-tale"], {"tell-tale": 1}, "")},
    **{f"sub holds {c!r}": token(sub=f"tell-tale{c}") for c in ("\0", "\n", "\x7f", "\x85", "\ud800")},
    "sub of 256 characters": token(sub="tell-tale".ljust(256, "x")),
    "claims are a list": signed({"alg": "HS256"}, ["tell-tale"]),
    "claims are no JSON": signed({"alg": "HS256"}, b"tell-tale"),
    "claims are not UTF-8": signed({"alg": "HS256"}, b'{"sub": "tell-tale\xff"}'),
    "header is a list": signed(["tell-tale"], {}),
    "header is deep": signed(b"[" * 4000, {}),
    "header has a huge number": signed(b'{"alg": "HS256", "x": ' + b"9" * 5000 + b"}", {}),
    "too long": token(padding="tell-tale" * 1000),
    **{
        f"garbage {text!r:.20}": text
        for text in ("", ".", "..", "...", "tell-tale", "a.b.c", good + ".x", f" {good}", "é.é.é", "\ud800", "\0" * 99)
    },
}


@pytest.mark.parametrize("given", INVALID.values(), ids=INVALID)
def test_an_invalid_token_is_rejected_and_not_repeated(given: str) -> None:
    error = refusal(given)
    assert error.code == "token_invalid"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    assert str(error) == error.detail
    assert "tell-tale" not in error.detail
    assert len(error.detail) < 100


@pytest.mark.parametrize("age", [LEEWAY_SECONDS + 1, HOUR, now], ids=["just", "an hour ago", "in 1970"])
def test_an_expired_token_is_rejected_as_expired(age: int) -> None:
    error = refusal(token(exp=int(time.time()) - age))
    assert (error.code, error.detail) == ("token_expired", "The token has expired.")


def test_only_a_properly_signed_token_is_reported_as_expired() -> None:
    assert refusal(signed({"alg": "HS256"}, {"sub": "ada", "exp": 1}, key="x" * 33)).code == "token_invalid"


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -5), ("nbf", 20), ("iat", 20)])
def test_clocks_may_differ_by_the_leeway(claim: str, seconds: int) -> None:
    claims: dict[str, Any] = {claim: int(time.time()) + seconds}
    assert user_of(token(**claims)) == "tell-tale"


@pytest.mark.parametrize("user_id", ["ada", "auth0|ünï/çödé \U0001f600", " ", "x" * 255])
def test_a_good_token_names_its_user(user_id: str) -> None:
    assert user_of(token(sub=user_id)) == user_id
    assert user_of(issue_token(SECRET, user_id)) == user_id


@pytest.mark.parametrize("value", [-1, -0.5, -(10**400), -1e300])
def test_an_exp_before_the_epoch_is_expired(value: float) -> None:
    assert refusal(token(exp=value)).code == "token_expired"


@pytest.mark.parametrize(
    ("claim", "value"),
    [("exp", MAX_TIME), pytest.param("exp", now + HOUR + 0.5, id="exp-half a second"), ("nbf", 0), ("iat", -1.5)],
)
def test_times_are_numbers(claim: str, value: float) -> None:
    claims: dict[str, Any] = {claim: value}
    assert user_of(token(**claims)) == "tell-tale"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@hypothesis.given(
    claims=st.dictionaries(st.sampled_from(["sub", "exp", "nbf", "iat", "iss", "aud", "jti", "crit"]), json_values)
)
def test_any_signed_claims_name_a_user_or_are_rejected(claims: dict[str, Any]) -> None:
    with suppress(TokenError):
        assert user_of(token(**claims)) == claims.get("sub", "tell-tale")


def test_unused_claims_are_ignored() -> None:
    given = token(iss="anyone", aud=["anything"], nbf=now - HOUR, iat=now - HOUR, jti="1", roles={"deep": [1]})
    assert user_of(given) == "tell-tale"


def test_the_user_may_be_in_another_claim() -> None:
    given = issue_token(SECRET, "ada@example.com", user_claim="email")
    assert user_of(given, user_claim="email") == "ada@example.com"
    assert user_of(token(without="sub", email="ada@example.com"), user_claim="email") == "ada@example.com"
    assert user_of(token(sub={"of": "no interest"}, email="ada@example.com"), user_claim="email") == "ada@example.com"
    assert refusal(good, user_claim="email").code == "token_invalid"
    assert refusal(given).code == "token_invalid"


@pytest.mark.parametrize(("expected", "claim"), [("issuer", "iss"), ("audience", "aud")])
def test_issuer_and_audience_must_match(expected: str, claim: str) -> None:
    verifier: dict[str, Any] = {expected: "https://id.example/"}
    assert user_of(token(**{claim: "https://id.example/"}), **verifier) == "tell-tale"
    assert user_of(issue_token(SECRET, "ada", **verifier), **verifier) == "ada"
    wrong: list[Any] = ["https://id.example", "HTTPS://ID.EXAMPLE/", "", None, 7, {"https://id.example/": 1}, []]
    for value in wrong:
        assert refusal(token(**{claim: value}), **verifier).code == "token_invalid", value
    assert refusal(token(), **verifier).code == "token_invalid"


def test_an_audience_may_be_one_of_several() -> None:
    assert user_of(token(aud=["mail", "tasks"]), audience="tasks") == "tell-tale"
    assert refusal(token(aud=["mail", "task"]), audience="tasks").code == "token_invalid"


@pytest.mark.parametrize("secret", ["", "x", "x" * 31])
def test_a_short_secret_is_rejected(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^must have at least 32 bytes$"):
        SharedSecret(secret)


@pytest.mark.parametrize("secret", KEYS_OF_OTHER_KINDS.values(), ids=KEYS_OF_OTHER_KINDS)
def test_a_key_of_another_kind_is_no_secret(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^must not be a PEM, an ssh key, a certificate or a JWK$"):
        SharedSecret(secret)


def test_an_issued_token_is_valid_for_the_given_time() -> None:
    lived = issue_token(SECRET, "ada", lifetime=timedelta(minutes=5))
    body = lived.split(".")[1]
    read = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert read["exp"] - read["iat"] == 300
    assert abs(read["iat"] - time.time()) < 60
    assert refusal(issue_token(SECRET, "ada", lifetime=timedelta(minutes=-1))).code == "token_expired"


@pytest.mark.parametrize("user_id", ["", "a\nb", "x" * 256])
def test_no_token_is_issued_for_an_invalid_user_id(user_id: str) -> None:
    with pytest.raises(InvalidText):
        issue_token(SECRET, user_id)
