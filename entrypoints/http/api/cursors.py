"""Cursors: the place where a page ended, as opaque text that clients pass back."""

import re
import struct
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

from application import Position
from domain import search_key
from entrypoints.http.api.errors import InvalidInput

# Microseconds since 1970, and the id; then a checksum over both, the user and the filter.
_PLACE = struct.Struct(">q16s")
_CHECKSUM = struct.Struct(">I")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Exactly what encoding gives: Python's decoder ignores characters outside of Base64.
_CURSOR = re.compile("[A-Za-z0-9_-]{37}[AQgw]")
CURSOR_PATTERN = "^[A-Za-z0-9_-]+$"
"""The documented form of a cursor."""


def encode_cursor(position: Position, *, user_id: str, completed: bool | None, text: str | None = None) -> str:
    """Return the cursor of a place in one user's list under one filter."""
    place = _PLACE.pack((position.created_at - _EPOCH) // _MICROSECOND, position.id.bytes)
    return urlsafe_b64encode(place + _checksum(place, user_id, completed, text)).decode().rstrip("=")


def decode_cursor(cursor: str, *, user_id: str, completed: bool | None, text: str | None = None) -> Position:
    """Return the place that a cursor names.

    Raises InvalidInput when it is malformed, or belongs to another user or another filter.
    """
    try:
        if not _CURSOR.fullmatch(cursor):
            raise ValueError
        raw = urlsafe_b64decode(cursor + "==")
        place, checksum = raw[: _PLACE.size], raw[_PLACE.size :]
        if checksum != _checksum(place, user_id, completed, text):
            raise ValueError
        microseconds, id_bytes = _PLACE.unpack(place)
        return Position(created_at=_EPOCH + microseconds * _MICROSECOND, id=UUID(bytes=id_bytes))
    except (ValueError, OverflowError):
        detail = "Not a cursor of this list: pass next_cursor unchanged, with the same filter."
        raise InvalidInput(detail, parameter="cursor") from None


def _checksum(place: bytes, user_id: str, completed: bool | None, text: str | None) -> bytes:
    search = "" if text is None else f"{search_key(text)}/"
    return _CHECKSUM.pack(zlib.crc32(f"{completed}/{search}{user_id}".encode(), zlib.crc32(place)))
