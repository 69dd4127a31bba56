"""Tokens that no issuer of `tests.issuers` issued for this service, by what is wrong with them."""

import base64
import hmac
import itertools
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.issuers import AUDIENCE, ISSUER, OTHER, PRIVATE, published, token

LATER = 900
NONE_IN_EVERY_CASE = ["".join(letters) for letters in itertools.product("nN", "oO", "nN", "eE")]

UNKNOWN_IDS: list[object] = ["", "EdDSA ", "eddsa", 7, True, ["EdDSA"], {"EdDSA": 1}]


def forgeries(keys_url: str) -> dict[str, str]:
    """Return one of each; `keys_url` is where the real keys are."""
    good = token()
    claims = _claims()
    return {
        **{f"alg {alg}": by_hand({"alg": alg, "kid": "EdDSA"}, claims) for alg in NONE_IN_EVERY_CASE},
        **{f"alg {alg}, signature kept": _with_header(good, {"alg": alg}) for alg in NONE_IN_EVERY_CASE},
        **{
            f"{alg} with the public key as {form}": by_hand({"alg": alg, "kid": "RS256"}, claims, key, digest)
            for form, key in _public_keys().items()
            for alg, digest in (("HS256", "sha256"), ("HS512", "sha512"))
        },
        "another key": token(key=OTHER),
        "another key without an id": token(key=OTHER, kid=None),
        **{f"another key as {kid!r}": token(key=OTHER, kid=kid) for kid in ("OTHER", "../../dev/null", "' OR 1=1 --")},
        **{f"kid {kid!r}": _signed(_header(kid)) for kid in UNKNOWN_IDS},
        "one key's id on another key's token": token("ES256", kid="EdDSA"),
        "an algorithm that the key is not for": jwt.encode(claims, PRIVATE["RS256"], "PS256", {"kid": "RS256"}),
        **{
            f"{kid}, a key of its own in {name}": jwt.encode(claims, OTHER, "EdDSA", {"kid": kid, name: value})
            for name, value in _own_keys(keys_url).items()
            for kid in ("OTHER", "EdDSA")
        },
        **{f"iss {iss!r}": _signed(iss=iss) for iss in ("https://evil.example", f"{ISSUER}/", "", None, [ISSUER])},
        **{f"aud {aud!r}": _signed(aud=aud) for aud in ("https://other.example", AUDIENCE[:-1], "", None, [], [""])},
        **{f"sub {str(sub)[:9]!r}": _signed(sub=sub) for sub in (None, 7, True, "", "x" * 256, ["ada"], {"id": "ada"})},
        "no exp": _signed(exp=None),
        "exp as text": _signed(exp="tomorrow"),
        "not yet valid": _signed(nbf=int(time.time()) + LATER),
        "issued in the future": _signed(iat=int(time.time()) + LATER),
        **{f"cut by {n}": good[:-n] for n in (1, 10, 86, 87, len(good) - 1)},
        "claims of another": ".".join([*token(sub="grace").split(".")[:2], good.split(".")[2]]),
        "24 KB long": good + "x" * 24_000,
    }


def by_hand(header: object, claims: object, key: bytes | None = None, digest: str = "sha256") -> str:
    """Sign with a secret what no library would, or leave it unsigned."""
    content = f"{_part(json.dumps(header).encode())}.{_part(json.dumps(claims).encode())}"
    return f"{content}.{_part(hmac.digest(key, content.encode(), digest)) if key is not None else ''}"


def _header(kid: object) -> dict[str, object]:
    return {"alg": "EdDSA", "kid": kid}


def _signed(header: object = None, **claims: object) -> str:
    """Sign truly; a claim that is None is left out."""
    kept = {name: value for name, value in (_claims() | claims).items() if value is not None}
    content = f"{_part(json.dumps(header or _header('EdDSA')).encode())}.{_part(json.dumps(kept).encode())}"
    return f"{content}.{_part(PRIVATE['EdDSA'].sign(content.encode()))}"


def _claims() -> dict[str, Any]:
    return {"sub": "ada", "iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + LATER}


def _with_header(good: str, header: object) -> str:
    return ".".join([_part(json.dumps(header).encode()), *good.split(".")[1:]])


def _public_keys() -> dict[str, bytes]:
    """Write an issuer's public key in each form that a careless verifier could take for a secret."""
    key = PRIVATE["RS256"].public_key()
    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {
        "PEM": pem,
        "PEM without its line end": pem.rstrip(),
        "PKCS 1": key.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "DER": key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": json.dumps(published("RS256")).encode(),
        "nothing": b"",
    }


def _own_keys(keys_url: str) -> dict[str, object]:
    key = OTHER.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "jwk": published("EdDSA", OTHER),
        "jku": keys_url,
        "x5u": keys_url,
        "x5c": [base64.b64encode(key).decode()],
    }


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
