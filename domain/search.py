"""The search key of a text: what a search compares."""

from unicodedata import normalize


def search_key(text: str) -> str:
    """Return the text without the differences that a search ignores: case, and the ways to compose a character.

    A text matches a query if its key contains the query's key.
    """
    if text.isascii():
        return text.lower()
    return normalize("NFC", normalize("NFC", text).casefold())
