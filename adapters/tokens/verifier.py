"""Verification of tokens: the user of a token that was issued for this service."""

import hashlib
import time
from typing import NamedTuple

import jwt

from adapters.tokens.errors import TokenError
from adapters.tokens.keys import Keys
from domain import DomainError
from domain.rules import USER_ID

MAX_TOKEN_LENGTH = 8192
"""Characters. A longer token is rejected unread; real ones have less than half."""

LEEWAY_SECONDS = 30
"""How far the issuer's clock may differ from the service's."""

MAX_TIME = 253_402_300_799
"""The last second of the year 9999. A later `exp`, such as one in milliseconds, is a fault of the issuer."""

MAX_REMEMBERED = 4096
"""Tokens. Verifying a signature costs as much as the rest of a request, and most requests repeat a token."""


class Verified(NamedTuple):
    """What an accepted token says."""

    user_id: str
    expires: float
    """Its `exp`, in seconds since 1970. It is accepted for LEEWAY_SECONDS more."""
    generation: int
    """That of the keys it was verified with."""


class TokenVerifier:
    """Verifies tokens with one kind of keys, and caches accepted ones until they expire or a key changes."""

    def __init__(
        self, keys: Keys, *, user_claim: str = "sub", issuer: str | None = None, audience: str | None = None
    ) -> None:
        """`user_claim` holds the user id; `issuer` and `audience` are the required ones, None accepts any."""
        self._keys = keys
        self._user_claim = user_claim
        self._issuer = issuer
        self._audience = audience
        self._jwt = jwt.PyJWT(
            {
                "enforce_minimum_key_length": True,
                "require": ["exp", user_claim],
                "verify_aud": audience is not None,
                "verify_iss": issuer is not None,
                "verify_sub": False,  # the domain's rule for user ids checks the user claim
            }
        )
        self._verified: dict[bytes, Verified] = {}

    async def user_id(self, token: str) -> str:
        """Return the user the token was issued to. Raises what `verify` raises."""
        return (await self.verify(token)).user_id

    async def verify(self, token: str) -> Verified:
        """Verify a token with the keys of now.

        Raises TokenError, `token_expired` or `token_invalid`, and KeysUnavailable.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise TokenError("token_invalid", "The token is too long.")
        try:
            digest = hashlib.sha256(token.encode()).digest()  # a digest in the cache cannot be used as a token
            known = self._verified.get(digest)
            if known and known.generation == self._keys.generation and time.time() < known.expires:
                return known
            verified = await self._decode(token)
        except jwt.ExpiredSignatureError:
            raise TokenError("token_expired", "The token has expired.") from None
        except (jwt.PyJWTError, DomainError, UnicodeError) as error:
            raise TokenError("token_invalid", _REASONS.get(type(error), "The token is not valid.")) from None
        if len(self._verified) >= MAX_REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = verified
        return verified

    async def _decode(self, token: str) -> Verified:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in self._keys.algorithms:
            raise jwt.InvalidAlgorithmError
        key = await self._keys.find(header.get("kid"), algorithm)
        if key is None:
            raise TokenError("token_invalid", "The token is signed with a key that the issuer does not publish.")
        generation = self._keys.generation
        claims = self._jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY_SECONDS,
        )
        if not all(_is_time(claims[name]) for name in ("exp", "nbf", "iat") if name in claims):
            raise jwt.InvalidTokenError
        return Verified(USER_ID.clean(claims[self._user_claim]), float(claims["exp"]), generation)


def _is_time(value: object) -> bool:
    """Return whether a claim is a NumericDate (RFC 7519, section 2) up to MAX_TIME; the library also takes text."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_TIME


# The service's own texts: the library's may repeat claims of the token.
_REASONS: dict[type[Exception], str] = {
    jwt.ImmatureSignatureError: "The token is not valid yet.",
    jwt.InvalidAlgorithmError: "The token is signed with an algorithm that is not accepted.",
    jwt.InvalidAudienceError: "The token is meant for another audience.",
    jwt.InvalidIssuerError: "The token comes from another issuer.",
    jwt.InvalidSignatureError: "The token's signature does not match.",
    jwt.MissingRequiredClaimError: "The token lacks a required claim.",
    jwt.DecodeError: "The token is malformed.",
}
