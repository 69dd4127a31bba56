"""The reasons why a token is not accepted."""

from typing import Literal

from domain import HextasksError


class TokenError(HextasksError):
    """The token is missing, invalid or expired, as `code` says; the text never repeats the token."""

    def __init__(self, code: Literal["token_missing", "token_invalid", "token_expired"], detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class KeysUnavailable(HextasksError):
    """The token cannot be verified until the issuer's keys are available. Retry later."""

    sentence = "The keys of the token's issuer are unavailable."
