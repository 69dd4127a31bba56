"""States and their tokens."""

import pytest

from application import NOTHING, InvalidState, State


def test_a_token_names_a_state() -> None:
    for state in (NOTHING, State(epoch=2**48 - 1, number=7), State(epoch=1, number=3, began=9)):
        assert State.parse(str(state)) == state
    for text in ("", "0", "1-1", "00000000000G-1", "000000000001-01", "000000000001-1-0", "000000000001--1", " "):
        with pytest.raises(InvalidState) as error:
            State.parse(text)
        assert (error.value.code, error.value.field) == ("sync_token_malformed", "token")
