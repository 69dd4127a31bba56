"""The rules for text. The database repeats them as CHECK constraints."""

import re
from dataclasses import KW_ONLY, dataclass

from domain.errors import InvalidText

CONTROL = r"\x00-\x1f\x7f-\x9f"
"""The control characters (Unicode category Cc), in a class of a pattern, one of JSON Schema's, too."""
FORBIDDEN = re.compile(rf"[{CONTROL}\ud800-\udfff]")
"""These and the surrogates, which are valid in UTF-16 only."""
_REASONS = {
    "not_text": "must be text",
    "empty": "must not be empty",
    "too_long": "must have at most {max_length} characters",
    "surrogate": "must not contain a lone surrogate",
    "control_character": "must not contain control characters",
}


@dataclass(frozen=True, slots=True)
class TextRule:
    """What the text of one field must be: 1 to `max_length` code points, no control character, no lone surrogate."""

    field: str
    _: KW_ONLY
    max_length: int
    """Unicode code points, counted after stripping."""
    stripped: bool = False
    """Whether Unicode white space at the ends is removed."""

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the errors that `clean` raises."""
        return tuple(f"{self.field}_{reason}" for reason in _REASONS)

    def clean(self, text: str) -> str:
        """Return the text as it is to be stored: stripped if the rule says so. Raises InvalidText."""
        if not isinstance(text, str):
            raise self._error("not_text")
        if self.stripped:
            text = text.strip()
        if not text:
            raise self._error("empty")
        if len(text) > self.max_length:
            raise self._error("too_long")
        # Printable text has no character of Unicode's category "Other". This is the fast way for most texts.
        if not text.isprintable() and (found := FORBIDDEN.search(text)):
            if found[0] >= "\ud800":
                raise self._error("surrogate")
            raise self._error("control_character")
        return text

    def check(self, text: str) -> None:
        """Accept only text that `clean` returns unchanged. Raises InvalidText."""
        if self.clean(text) != text:
            raise self._error("not_stripped", "must have no white space at its ends")

    def _error(self, reason: str, detail: str = "") -> InvalidText:
        name = self.field.replace("_", " ")
        detail = detail or _REASONS[reason].format(max_length=self.max_length)
        return InvalidText(f"{self.field}_{reason}", f"The {name} {detail}.", field=self.field)


TITLE = TextRule("title", max_length=500, stripped=True)
TEXTS = (TITLE,)
"""The rules of the texts that a user may write into a task."""

USER_ID = TextRule("user_id", max_length=255)
"""Opaque. Not a UUID, because token issuers disagree about what `sub` holds."""
