"""Why a token is not taken."""

from typing import Literal


class TokenError(Exception):
    """The token does not prove who is calling. `code` says in which way; the text never repeats the token."""

    def __init__(self, code: Literal["token_missing", "token_invalid", "token_expired"], detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class KeysUnavailable(Exception):
    """The token cannot be judged before the issuer has answered. Try again later."""
