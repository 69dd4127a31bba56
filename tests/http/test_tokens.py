"""Bearer tokens: 401 with a challenge for every token that is not valid."""

import base64
import time

import pytest

from tests.forgeries import NONE_IN_EVERY_CASE
from tests.http.wire import Headers, assert_problem, claims, in_memory, listed, made, raw, token
from tests.services import Client, Service

pytestmark = in_memory
USER = "grace"
PATH = f"/api/{USER}/tasks"
HOUR = 3600
GOOD = token(claims(USER))
HEAD, BODY, SIGNATURE = GOOD.split(".")
ANOTHER_KEY = "another key that is long enough to be taken"
OWN_KEYS = {
    "jwk": {"kty": "oct", "kid": "own", "k": base64.urlsafe_b64encode(ANOTHER_KEY.encode()).decode()},
    "jku": "https://evil.example/jwks",
    "x5u": "https://evil.example/certificate",
    "x5c": [base64.b64encode(ANOTHER_KEY.encode()).decode()],
}


def now(seconds: int) -> int:
    return int(time.time()) + seconds


def unsigned(header: str) -> str:
    return base64.urlsafe_b64encode(header.encode()).decode().rstrip("=") + f".{BODY}."


NO_TOKEN: dict[str, Headers] = {
    "nothing": [],
    "another scheme": [("Authorization", "Basic Z3JhY2U6cGFzc3dvcmQ=")],
    "Digest": [("Authorization", f'Digest username="{USER}", response="{GOOD}"')],
    "DPoP": [("Authorization", f"DPoP {GOOD}")],
    "no space": [("Authorization", f"Bearer{GOOD}")],
    "a tab": [("Authorization", f"Bearer\t{GOOD}")],
    "another scheme first": [("Authorization", f"Basic Og==, Bearer {GOOD}")],
    "another scheme with a token": [("Authorization", f"Token {GOOD}")],
    "no scheme": [("Authorization", GOOD)],
    "no token": [("Authorization", "Bearer")],
    "blank token": [("Authorization", "Bearer   ")],
    "empty": [("Authorization", "")],
    "a cookie": [("Cookie", f"token={GOOD}; Authorization=Bearer {GOOD}")],
    "another header": [("X-Authorization", f"Bearer {GOOD}"), ("Proxy-Authorization", f"Bearer {GOOD}")],
}
INVALID = {
    "nonsense": "nonsense",
    "dots": "..",
    "many parts": f"{GOOD}.{GOOD}",
    "cut": GOOD[:-10],
    "without signature": f"{HEAD}.{BODY}.",
    "two parts": f"{HEAD}.{BODY}",
    "another signature": f"{HEAD}.{BODY}.{SIGNATURE[::-1]}",
    "other claims": f"{HEAD}.{token(claims('ada')).split('.')[1]}.{SIGNATURE}",
    "two tokens": f"{GOOD} {GOOD}",
    "a list of tokens": f"{GOOD},{GOOD}",
    "24 KB": GOOD + "x" * 24_000,
    "not ASCII": "\u00fc" * 20,
    "another key": token(claims(USER), key=ANOTHER_KEY),
    "empty key": token(claims(USER), key=""),
    **{f"alg {alg}": unsigned(f'{{"alg":"{alg}","typ":"JWT"}}') for alg in NONE_IN_EVERY_CASE},
    "alg none without type": unsigned('{"alg":"none"}'),
    "alg none, signed": token(claims(USER), {"alg": "none"}),
    "no alg": token(claims(USER), {"typ": "JWT"}),
    "alg null": token(claims(USER), {"alg": None}),
    "alg as a list": token(claims(USER), {"alg": ["HS256"]}),
    "HS512": token(claims(USER), {"alg": "HS512"}, digest="sha512"),
    "HS256 called RS256": token(claims(USER), {"alg": "RS256"}),
    "unknown critical header": token(claims(USER), {"alg": "HS256", "crit": ["exp"], "exp": 1}),
    "header is a list": token(claims(USER), ["HS256"]),
    "header is no JSON": token(claims(USER), "nonsense"),
    "header is not UTF-8": token(claims(USER), b"\xff\xfe"),
    "deep header": unsigned("[" * 5000),
    "header with a huge number": unsigned('{"alg":' + "9" * 5000 + "}"),
    **{
        f"another key, brought in {name}": token(claims(USER), {"alg": "HS256", "kid": "own", name: key}, ANOTHER_KEY)
        for name, key in OWN_KEYS.items()
    },
    "another key, from a file": token(claims(USER), {"alg": "HS256", "kid": "../../../dev/null"}, key=""),
    "kid is a number": token(claims(USER), {"alg": "HS256", "kid": 7}),
    "claims are a list": token([claims(USER)]),
    "claims are no JSON": token("nonsense"),
    "claims are not UTF-8": token(b"\xff\xfe"),
    "deep claims": token("[" * 5000),
    "no exp": token({"sub": USER}),
    "exp is null": token({"sub": USER, "exp": None}),
    "exp is text": token(claims(USER, exp="tomorrow")),
    "exp is a number as text": token(claims(USER, exp=f"{now(HOUR)}")),
    "exp is huge": token(claims(USER, exp=10**400)),
    "exp is a huge fraction": token(claims(USER, exp=1e300)),
    "exp is in milliseconds": token(claims(USER, exp=now(HOUR) * 1000)),
    "nbf is true": token(claims(USER, nbf=True)),
    "iat is a number as text": token(claims(USER, iat=f"{now(-HOUR)}")),
    "exp is a list": token(claims(USER, exp=[now(HOUR)])),
    "exp is endless": token(f'{{"sub": "{USER}", "exp": 1e999}}'),
    "exp is no number": token(f'{{"sub": "{USER}", "exp": NaN}}'),
    "nbf in the future": token(claims(USER, nbf=now(HOUR))),
    "nbf is endless": token(f'{{"sub": "{USER}", "exp": {now(HOUR)}, "nbf": 1e999}}'),
    "iat is endless": token(f'{{"sub": "{USER}", "exp": {now(HOUR)}, "iat": 1e999}}'),
    "no sub": token({"exp": now(HOUR), "user": USER}),
    "sub is null": token({"exp": now(HOUR), "sub": None}),
    "sub is a number": token(claims(7)),
    "sub is true": token(claims(True)),
    "sub is a list": token(claims([USER])),
    "sub is an object": token(claims({"id": USER})),
    "sub is empty": token(claims("")),
    "sub is too long": token(claims("x" * 256)),
    "sub has a control character": token(claims(f"{USER}\x00")),
    "sub has a lone surrogate": token(claims(f"{USER}\ud800")),
}
EXPIRED = {
    "a second past the leeway": token(claims(USER, exp=now(-31))),
    "long ago": token(claims(USER, exp=1)),
    "before the epoch": token(claims(USER, exp=-1)),
    "as a fraction": token(claims(USER, exp=now(-35) + 0.5)),
}


@pytest.mark.parametrize("headers", NO_TOKEN.values(), ids=NO_TOKEN.keys())
def test_no_token(service: Service, headers: Headers) -> None:
    answer = raw(service, "GET", PATH, headers)
    assert_problem(answer, "token_missing")
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert "error=" not in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("code", "value"),
    [("token_invalid", value) for value in INVALID.values()] + [("token_expired", value) for value in EXPIRED.values()],
    ids=[*INVALID, *EXPIRED],
)
def test_an_invalid_token(service: Service, code: str, value: str) -> None:
    answer = raw(service, "GET", PATH, [("Authorization", f"Bearer {value}".encode())])
    assert_problem(answer, code)
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert len(answer.content) < 1000
    assert value[:200] not in answer.text + str(answer.headers)


def test_an_expired_token_of_another_key_is_invalid(service: Service) -> None:
    value = token(claims(USER, exp=1), key=ANOTHER_KEY)
    assert_problem(raw(service, "GET", PATH, [("Authorization", f"Bearer {value}")]), "token_invalid")


@pytest.mark.parametrize("second", [GOOD, "nonsense"])
def test_two_tokens_are_rejected(service: Service, second: str) -> None:
    headers = [("Authorization", f"Bearer {GOOD}"), ("authorization", f"Bearer {second}")]
    for given in (headers, headers[::-1]):
        assert_problem(raw(service, "GET", PATH, given), "token_invalid")


@pytest.mark.parametrize("name", ["access_token", "token", "authorization", "jwt"])
def test_a_token_in_the_query_is_ignored(service: Service, me: Client, name: str) -> None:
    answer = raw(service, "GET", f"{PATH}?{name}={GOOD}")
    assert_problem(answer, "token_missing")
    assert GOOD not in answer.text + str(answer.headers)
    answer = me.get(me.tasks, params={name: GOOD})
    assert_problem(answer, "validation_error", ("parameter", name, "unknown_parameter"))
    assert GOOD not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_case_insensitive(service: Service, scheme: str) -> None:
    assert raw(service, "GET", PATH, [("Authorization", f"{scheme} {GOOD}")]).status_code == 200


@pytest.mark.parametrize(
    "others",
    [
        {"exp": now(HOUR) + 0.5},
        {"iss": "https://issuer.example", "aud": ["others"], "jti": "1", "scope": "tasks"},
        {"nbf": now(-HOUR), "iat": now(-HOUR)},
    ],
)
def test_other_claims_are_ignored(service: Service, others: dict[str, object]) -> None:
    with service.client(token=token(claims(f"user of {len(others)}", **others))) as client:
        client.tasks = f"/api/user%20of%20{len(others)}/tasks"
        assert made(client) in listed(client)
