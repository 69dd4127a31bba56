"""Search: a title contains a text when its key contains the key of the text."""

from unicodedata import normalize


def search_key(text: str) -> str:
    """Return the text without differences of case and of composition, as every adapter compares it."""
    if text.isascii():
        return text.lower()
    return normalize("NFC", normalize("NFC", text).casefold())
