"""The rules for text. The database repeats them as CHECK constraints."""

import re
from dataclasses import KW_ONLY, dataclass

from domain.errors import InvalidText

# Unicode category Cc, and the surrogates, which are valid in UTF-16 only.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TextRule:
    """What the text of one field must be: 1 to `max_length` code points, no control character, no lone surrogate."""

    field: str
    _: KW_ONLY
    max_length: int
    """Unicode code points, counted after stripping."""
    stripped: bool = False
    """Whether Unicode white space at the ends is removed."""

    def clean(self, text: str) -> str:
        """Return the text as it is to be stored: stripped if the rule says so. Raises InvalidText."""
        if not isinstance(text, str):
            raise self._error("not_text", "must be text")
        if self.stripped:
            text = text.strip()
        if not text:
            raise self._error("empty", "must not be empty")
        if len(text) > self.max_length:
            raise self._error("too_long", f"must have at most {self.max_length} characters")
        # Printable text has no character of Unicode's category "Other". This is the fast way for most texts.
        if not text.isprintable() and (found := _FORBIDDEN.search(text)):
            if found[0] >= "\ud800":
                raise self._error("surrogate", "must not contain a lone surrogate")
            raise self._error("control_character", "must not contain control characters")
        return text

    def check(self, text: str) -> None:
        """Accept only text that `clean` returns unchanged. Raises InvalidText."""
        if self.clean(text) != text:
            raise self._error("not_stripped", "must have no white space at its ends")

    def _error(self, code: str, detail: str) -> InvalidText:
        name = self.field.replace("_", " ")
        return InvalidText(f"{self.field}_{code}", f"The {name} {detail}.", field=self.field)


TITLE = TextRule("title", max_length=500, stripped=True)

USER_ID = TextRule("user_id", max_length=255)
"""Opaque. Not a UUID, because token issuers disagree about what `sub` holds."""
