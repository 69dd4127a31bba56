"""States: points in the history of a user's changes, and the tokens that name them."""

import re
from dataclasses import dataclass
from typing import Self

from domain import DomainError

_TOKEN = re.compile("([0-9a-f]{12})-(0|[1-9][0-9]{0,17})(?:-([1-9][0-9]{0,17}))?")
TOKEN_PATTERN = f"^{_TOKEN.pattern}$"
"""The documented form of a token. Clients compare and return tokens, and read nothing from them."""


class InvalidState(DomainError):
    """`sync_token_malformed`: the text is not a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A point in a user's history: the epoch and the value of the user's counter.

    A number is meaningful only together with its epoch, because a restored backup gives the same numbers again. `str`
    returns the token that names the state.
    """

    epoch: int
    """48 random bits, chosen when the counter is made and whenever a backup was restored."""
    number: int
    """The number of the last change."""
    began: int = 0
    """Between the pages of a first synchronization: the number of the last change before it; otherwise 0.

    Deletions up to that number concern tasks that the client never received.
    """

    def __str__(self) -> str:
        """Return the token."""
        token = f"{self.epoch:012x}-{self.number}"
        return f"{token}-{self.began}" if self.began else token

    @classmethod
    def parse(cls, token: str) -> Self:
        """Return the state that a token names. Raises InvalidState."""
        found = _TOKEN.fullmatch(token)
        if not found:
            raise InvalidState("sync_token_malformed", "Not a token of this service.", field="token")
        epoch, number, began = found.groups(default="0")
        return cls(epoch=int(epoch, 16), number=int(number), began=int(began))


NOTHING = State(epoch=0, number=0)
"""The state of a user without changes. The changes since this state are the whole list."""
