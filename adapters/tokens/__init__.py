"""Bearer tokens: JWTs signed with a shared secret, or with the published keys of an issuer. Needs the `http` extra.

`adapters.tokens.remote_keys` is not imported here: its HTTP client loads slowly.
"""

from adapters.tokens.errors import KeysUnavailable, TokenError
from adapters.tokens.keys import TEST_SECRET, Keys, SharedSecret, issue_token
from adapters.tokens.verifier import LEEWAY_SECONDS, TokenVerifier

__all__ = [
    "LEEWAY_SECONDS",
    "TEST_SECRET",
    "Keys",
    "KeysUnavailable",
    "SharedSecret",
    "TokenError",
    "TokenVerifier",
    "issue_token",
]
