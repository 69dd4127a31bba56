"""The rules of single values: titles and user ids. The database repeats them as CHECK constraints."""

import re

from domain.errors import DomainError, InvalidTitle, InvalidUserId

TITLE_MAX_LENGTH = 500
"""Unicode code points, counted after stripping."""

USER_ID_MAX_LENGTH = 255
"""Unicode code points."""

# Unicode category Cc, and the surrogates that have no place outside UTF-16.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def clean_title(title: str) -> str:
    """Return the title without Unicode white space at its ends.

    Raises InvalidTitle unless 1 to 500 code points are left, none of them a control character or a lone surrogate.
    """
    if not isinstance(title, str):
        raise InvalidTitle("title_not_text", "The title must be text.")
    stripped = title.strip()
    _check("title", stripped, TITLE_MAX_LENGTH, InvalidTitle)
    return stripped


def check_user_id(user_id: str) -> str:
    """Return the user id as it is: opaque, 1 to 255 code points, no control character and no lone surrogate.

    Raises InvalidUserId otherwise. It is no UUID by rule, because token issuers disagree about what `sub` holds.
    """
    if not isinstance(user_id, str):
        raise InvalidUserId("user_id_not_text", "The user id must be text.")
    _check("user id", user_id, USER_ID_MAX_LENGTH, InvalidUserId)
    return user_id


def _check(name: str, text: str, max_length: int, error: type[DomainError]) -> None:
    if not text:
        raise error(f"{error.field}_empty", f"The {name} must not be empty.")
    if len(text) > max_length:
        raise error(f"{error.field}_too_long", f"The {name} must have at most {max_length} characters.")
    if found := _FORBIDDEN.search(text):
        if found[0] >= "\ud800":
            raise error(f"{error.field}_surrogate", f"The {name} must not contain a lone surrogate.")
        raise error(f"{error.field}_control_character", f"The {name} must not contain control characters.")
