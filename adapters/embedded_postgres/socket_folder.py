"""The path by which clients reach the server's socket.

It is the data folder, or a link to it in the temporary folder where that path does not fit into a socket's address or
a URL. The link's name is random, and it counts only while it belongs to this user, because other users may create
entries in the temporary folder.
"""

import logging
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from adapters.embedded_postgres.errors import EmbeddedPostgresError

# A Unix socket's address has 104 bytes on macOS, 108 on Linux, for the folder and "/.s.PGSQL.5432".
_LONGEST = 85
_PREFIX = "hextasks-"
# Programs that clean the temporary folder remove what has not been modified for days.
_TOUCH_EVERY_SECONDS = 3600.0
_log = logging.getLogger("hextasks.postgres")


def socket_folder(data: Path) -> Path:
    """Return the path for clients, creating a link if it is needed. Only one process at a time may call this.

    All processes that use the data share one link. Where a killed process has left one, that is used again, and links
    to data that no longer exist are removed.
    """
    if _is_usable(data):
        return data
    for link, target in _links():
        if target == data:
            return link
        with suppress(OSError):
            if not target.exists():
                link.unlink()
    link = _temporary_folder() / f"{_PREFIX}{secrets.token_hex(8)}"
    link.symlink_to(data)
    return link


def keep(folder: Path, data: Path) -> None:
    """Create the link again if it was removed, and keep programs that clean the temporary folder from removing it.

    Raises EmbeddedPostgresError if something else has its name; and OSError.
    """
    if folder == data:
        return
    try:
        about = folder.lstat()
    except FileNotFoundError:
        with suppress(FileExistsError):  # by another process of this user; if not, the next call reports it
            folder.symlink_to(data)
            _log.warning("%s, the link to %s, was removed, and has been created again", folder, data)
        return
    if about.st_uid != os.geteuid() or not stat.S_ISLNK(about.st_mode) or folder.readlink() != data:
        raise EmbeddedPostgresError(f"{folder}, the link to {data}, has been replaced: restart this process")
    if time.time() - about.st_mtime > _TOUCH_EVERY_SECONDS:
        os.utime(folder, follow_symlinks=False)


def remove_link(data: Path) -> None:
    """Remove the link, if there is one."""
    for link, target in _links():
        if target == data:
            link.unlink(missing_ok=True)


def _links() -> Iterator[tuple[Path, Path]]:
    """Yield this user's links with their targets, to any data."""
    for path in _temporary_folder().glob(f"{_PREFIX}*"):
        with suppress(OSError):  # no link, or one that was removed meanwhile
            if path.lstat().st_uid == os.geteuid():
                yield path, path.readlink()


def _temporary_folder() -> Path:
    folder = Path(tempfile.gettempdir())
    return folder if _is_usable(folder / f"{_PREFIX}{'0' * 16}") else Path("/tmp")  # noqa: S108  # names are random


def _is_usable(folder: Path) -> bool:
    """Return whether a socket's address and the host of a URL, a list of UTF-8 text, can hold a path."""
    try:
        return len(str(folder).encode()) <= _LONGEST and "," not in str(folder)
    except UnicodeEncodeError:
        return False
