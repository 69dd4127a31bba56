"""Bearer tokens: JWTs signed with a shared secret (HS256). Needs the `http` extra."""

from datetime import UTC, datetime, timedelta
from typing import Literal

import jwt

from domain import DomainError, check_user_id

ALGORITHM = "HS256"
MAX_TOKEN_LENGTH = 8192
"""Characters. A longer one is refused unread; real ones have less than half."""


class TokenError(Exception):
    """The token does not prove who is calling. `code` says in which way; the text never repeats the token."""

    def __init__(self, code: Literal["token_missing", "token_invalid", "token_expired"], detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class TokenVerifier:
    """Reads the user id out of a token, after proving that the holder of the secret issued it for this service."""

    def __init__(
        self, secret: str, *, user_claim: str = "sub", issuer: str | None = None, audience: str | None = None
    ) -> None:
        """Take the secret, at least 32 bytes, and what `iss` and `aud` must be; None takes any."""
        self._secret = secret
        self._user_claim = user_claim
        self._issuer = issuer
        self._audience = audience
        self._jwt = jwt.PyJWT(
            {
                "enforce_minimum_key_length": True,
                "require": ["exp", user_claim],
                "verify_aud": audience is not None,
                "verify_iss": issuer is not None,
                "verify_sub": False,  # the domain's rule for user ids judges the claim, whichever it is
            }
        )

    def user_id(self, token: str) -> str:
        """Return the user the token was issued to. Raises TokenError: `token_expired` or `token_invalid`."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise TokenError("token_invalid", "The token is too long.")
        try:
            claims = self._jwt.decode(
                token, self._secret, algorithms=[ALGORITHM], issuer=self._issuer, audience=self._audience
            )
            return check_user_id(claims[self._user_claim])
        except jwt.ExpiredSignatureError:
            raise TokenError("token_expired", "The token has expired.") from None
        except (jwt.PyJWTError, DomainError, UnicodeError) as error:
            raise TokenError("token_invalid", _REASONS.get(type(error), "The token is not valid.")) from None


# Words of our own: the library's may repeat what the token holds.
_REASONS: dict[type[Exception], str] = {
    jwt.ImmatureSignatureError: "The token is not valid yet.",
    jwt.InvalidAlgorithmError: "The token is signed with an algorithm that is not accepted.",
    jwt.InvalidAudienceError: "The token is meant for another audience.",
    jwt.InvalidIssuerError: "The token comes from another issuer.",
    jwt.InvalidSignatureError: "The token's signature does not match.",
    jwt.MissingRequiredClaimError: "The token lacks a required claim.",
    jwt.DecodeError: "The token is malformed.",
}


def issue_token(
    secret: str,
    user_id: str,
    *,
    lifetime: timedelta = timedelta(hours=12),
    user_claim: str = "sub",
    issuer: str | None = None,
    audience: str | None = None,
) -> str:
    """Return a token that TokenVerifier takes, for trials and tests. Raises InvalidUserId."""
    now = datetime.now(UTC)
    claims = {user_claim: check_user_id(user_id), "iss": issuer, "aud": audience, "iat": now, "exp": now + lifetime}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, secret, ALGORITHM)
