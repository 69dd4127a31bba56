"""The reasons why a token is not accepted."""

from typing import Literal


class TokenError(Exception):
    """The token is missing, invalid or expired, as `code` says; the text never repeats the token."""

    def __init__(self, code: Literal["token_missing", "token_invalid", "token_expired"], detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class KeysUnavailable(Exception):
    """The token cannot be verified until the issuer's keys are available. Retry later."""
