"""The keys that verify tokens. Each kind of keys names its algorithms, so that two kinds never mix."""

from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from domain.rules import USER_ID

SECRET_MIN_BYTES = 32
"""RFC 7518, section 3.2: an HS256 key has at least as many bits as its hash."""
TEST_SECRET = "a secret of hextasks.testing, for tests alone"  # noqa: S105
"""Of the testing kit, so that everybody knows it."""

PublicKey = Ed25519PublicKey | Ed448PublicKey | EllipticCurvePublicKey | RSAPublicKey


class Keys(Protocol):
    """Finds the key that a token says it is signed with."""

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The algorithms (RFC 7518, RFC 8037) that these keys may be used with."""
        ...

    @property
    def generation(self) -> int:
        """The number of the current set of keys: increases whenever a key is added or removed."""
        ...

    async def find(self, kid: str | None, algorithm: str) -> PublicKey | str | None:
        """Return the key with this id for this algorithm, or None. Raises KeysUnavailable."""
        ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """Keep the keys up to date during the block."""
        ...


class SharedSecret:
    """One secret that issuer and service share (HS256)."""

    algorithms = ("HS256",)
    generation = 0

    def __init__(self, secret: str) -> None:
        """Take a secret of at least 32 bytes. Raises ValueError for any other, and for a key of another kind.

        The error's text is what the secret must be, and does not repeat it.
        """
        if len(secret.encode()) < SECRET_MIN_BYTES:
            raise ValueError(f"must have at least {SECRET_MIN_BYTES} bytes")
        try:
            if "-----BEGIN " in secret:  # the library needs the last line of a PEM, too
                raise jwt.InvalidKeyError
            jwt.PyJWS().get_algorithm_by_name("HS256").prepare_key(secret)
        except jwt.InvalidKeyError:
            raise ValueError("must not be a PEM, an ssh key, a certificate or a JWK") from None
        self._secret = secret

    async def find(self, kid: str | None, algorithm: str) -> str:  # noqa: ARG002
        """Return the secret; the key id of the token is ignored."""
        return self._secret

    def running(self) -> AbstractAsyncContextManager[None]:
        """Do nothing: a secret stays as it is until the next start."""
        return nullcontext()


def issue_token(
    secret: str,
    user_id: str,
    *,
    lifetime: timedelta = timedelta(hours=12),
    user_claim: str = "sub",
    issuer: str | None = None,
    audience: str | None = None,
) -> str:
    """Return a token signed with a shared secret, for development and tests. Raises InvalidText."""
    now = datetime.now(UTC)
    claims = {user_claim: USER_ID.clean(user_id), "iss": issuer, "aud": audience, "iat": now, "exp": now + lifetime}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, secret, "HS256")
