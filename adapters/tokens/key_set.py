"""Reading a key set (RFC 7517, a JWKS): which of its entries verify tokens, and why the others do not."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from adapters.tokens.keys import PublicKey
from domain import HextasksError

ALGORITHMS = ("EdDSA", "ES256", "RS256")
MAX_ENTRIES = 100
RSA_BITS = range(2048, 8193)
"""RFC 7518, section 3.3, sets the minimum. The maximum bounds the time of a verification."""

_MEMBERS = {
    ("OKP", "Ed25519"): ("EdDSA", ("kty", "crv", "x")),
    ("OKP", "Ed448"): ("EdDSA", ("kty", "crv", "x")),
    ("EC", "P-256"): ("ES256", ("kty", "crv", "x", "y")),
    ("RSA", None): ("RS256", ("kty", "n", "e")),
}
"""The algorithm of each type of key, and the members of its public part. Symmetric keys ("oct") are not among them."""


class KeySetError(HextasksError):
    """The issuer's response is not a key set. The text repeats nothing of it."""

    sentence = "The response of the token's issuer is not a key set."


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The usable keys of a set, by key id and algorithm, and why the entries at other positions are ignored."""

    keys: Mapping[tuple[str | None, str], PublicKey]
    ignored: Mapping[int, str]


class _Unusable(Exception):
    pass


def read_key_set(content: bytes) -> KeySet:
    """Read a key set. Of several keys with one id and algorithm, the first is used.

    Raises KeySetError when the content is no key set, never for one of its entries.
    """
    try:
        published = json.loads(content)
    except (ValueError, RecursionError):
        raise KeySetError("not JSON") from None
    entries = published.get("keys") if isinstance(published, dict) else None
    if not isinstance(entries, list):
        raise KeySetError("not a key set")
    if len(entries) > MAX_ENTRIES:
        raise KeySetError(f"more than {MAX_ENTRIES} keys")
    keys: dict[tuple[str | None, str], PublicKey] = {}
    ignored = {}
    for position, entry in enumerate(entries):
        try:
            key_id, algorithm, key = _read_entry(entry)
            if keys.setdefault((key_id, algorithm), key) is not key:
                raise _Unusable("its id is repeated")
        except _Unusable as error:
            ignored[position] = str(error)
    return KeySet(keys=keys, ignored=ignored)


def _read_entry(entry: Any) -> tuple[str | None, str, PublicKey]:
    """Return the id, the algorithm and the public key of an entry. Raises _Unusable, which repeats nothing of it."""
    if not isinstance(entry, dict):
        raise _Unusable("not an object")
    key_type, curve, key_id = entry.get("kty"), entry.get("crv"), entry.get("kid")
    if not isinstance(key_type, str) or not isinstance(curve, str | None) or (key_type, curve) not in _MEMBERS:
        raise _Unusable("its type is not supported")
    algorithm, members = _MEMBERS[key_type, curve]
    operations = entry.get("key_ops")
    if entry.get("use") not in (None, "sig") or not (
        operations is None or (isinstance(operations, list) and "verify" in operations)
    ):
        raise _Unusable("it is not for signatures")
    if entry.get("alg") not in (None, algorithm):
        raise _Unusable("its algorithm is not supported")
    if not isinstance(key_id, str | None):
        raise _Unusable("its id is not text")
    if "d" in entry:
        raise _Unusable("its private part is published")
    try:
        key = jwt.PyJWK({name: entry[name] for name in members}, algorithm).key
    except Exception:  # the libraries do not document all that they raise
        raise _Unusable("malformed") from None
    if isinstance(key, RSAPublicKey) and key.key_size not in RSA_BITS:
        raise _Unusable(f"its size is not {RSA_BITS[0]} to {RSA_BITS[-1]} bits")
    return key_id, algorithm, key
