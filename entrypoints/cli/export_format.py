"""The file that `hextasks export` writes and `hextasks import` reads; docs/reference/export.md describes it.

UTF-8, one JSON object a line: a header, the tasks, and an end with their number, without which a file is incomplete.
"""

from collections.abc import Iterator
from dataclasses import MISSING, fields
from datetime import datetime
from typing import IO, Literal, get_type_hints

import msgspec

from domain import DomainError, HextasksError, Task
from entrypoints.cli import counted

FORMAT = 1
"""Raised when a reader of the format before would misunderstand a file."""
MAX_LINE_BYTES = 65_536
MOST_REPEATED = 200
"""Characters of a line that an error may repeat."""


class BadLine(HextasksError):
    """A line is not what the format has there."""

    sentence = "The file is not as hextasks export writes it."


class Header(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The first line."""

    hextasks_export: int = FORMAT
    user_id: str
    """Whose tasks were exported."""
    exported_at: datetime


class End(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The last line."""

    end: Literal["hextasks_export"] = "hextasks_export"
    tasks: int


_FIELDS = [field for field in fields(Task) if field.name not in ("user_id", "version")]
_TYPES = get_type_hints(Task)
_TaskLine = msgspec.defstruct(
    "TaskLine",
    # A field with a default may be missing in a file that is older than the field.
    [(f.name, _TYPES[f.name]) if f.default is MISSING else (f.name, _TYPES[f.name], f.default) for f in _FIELDS],
    forbid_unknown_fields=True,
    kw_only=True,
)
_encode = msgspec.json.Encoder().encode
_decode_task = msgspec.json.Decoder(_TaskLine).decode
_decode_end = msgspec.json.Decoder(End).decode


def encoded(value: Header | Task | End) -> bytes:
    """Return a line of the file, its line feed included."""
    line = msgspec.convert(value, _TaskLine, from_attributes=True) if isinstance(value, Task) else value
    return _encode(line) + b"\n"


def read_tasks(file: IO[bytes], *, user_id: str) -> Iterator[tuple[int, Task]]:
    """Yield each task as a user's, and the number of bytes that were read until then.

    Raises BadLine, which names the line by its number from 1, and so for the end of an incomplete file.
    """
    number, count, size = 1, 0, 0
    end: End | None = None
    while line := _next_line(file, number):
        size += len(line)
        try:
            if len(line) > MAX_LINE_BYTES:
                raise BadLine(f"it has more than {MAX_LINE_BYTES} bytes")
            if end:
                raise BadLine("it comes after the end")
            if number == 1:
                _check_header(line)
            elif task := _read_task(line, user_id):
                yield size, task
                count += 1
            elif (end := _decode_end(line)).tasks != count:
                raise BadLine(f"the file should have {end.tasks} tasks, but it has {count}")
        except (BadLine, DomainError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadLine(f"line {number}: {str(error)[:MOST_REPEATED]}") from None
        number += 1
    if not end:
        raise BadLine(f"line {number} is missing: the file is incomplete, it has {counted(count, 'task')} and no end")


def _next_line(file: IO[bytes], number: int) -> bytes:
    try:
        return file.readline(MAX_LINE_BYTES + 1)
    except OSError as error:
        raise BadLine(f"line {number} cannot be read: {error.strerror}") from error


def _read_task(line: bytes, user_id: str) -> Task | None:
    """Return the task of a line, or None if it is the end. Raises what the decoder and the domain raise."""
    try:
        return Task(**msgspec.structs.asdict(_decode_task(line)), user_id=user_id)
    except msgspec.ValidationError:
        if b'"end"' in line[:16]:
            return None
        raise


def _check_header(line: bytes) -> None:
    try:
        header = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        header = {}
    if "hextasks_export" not in header:
        raise BadLine("this is not a file of hextasks export")
    if bytes(header["hextasks_export"]) != b"%d" % FORMAT:
        raise BadLine("the file has a newer format than this version of hextasks knows")
    msgspec.json.decode(line, type=Header)
