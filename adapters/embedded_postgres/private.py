"""Folders and files to which other users have no access, except root."""

import logging
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO

from adapters.embedded_postgres.errors import EmbeddedPostgresError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_log = logging.getLogger("hextasks.postgres")


def make_private(folder: Path) -> None:
    """Create a folder, or remove other users' access to an existing one and to each entry in it, and log that.

    Raises EmbeddedPostgresError if the folder belongs to another user, who could replace the entries; and OSError.
    """
    _create(folder)
    folder = folder.resolve()
    if (owner := folder.stat().st_uid) != os.geteuid():
        raise EmbeddedPostgresError(
            f"{folder} belongs to the user {user_name(owner)}, but this process runs as {user_name(os.geteuid())}: "
            "run it as that user, or choose another folder"
        )
    changed = [folder] if _restrict(folder) else []
    changed += filter(_restrict, folder.iterdir())  # only now, when no other user can change them meanwhile
    if changed:
        _log.warning("Other users' access was removed from: %s", ", ".join(map(str, sorted(changed))))


def open_private(path: Path) -> IO[str]:
    """Open a file to append to it. If there is none, it is created with mode 0600. Follows no link."""
    return open(path, "a", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600))


def user_name(uid: int) -> str:
    """Return the name of a user; the number, if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _create(folder: Path) -> None:
    """Create a folder and all missing ones above it, all of them private."""
    if not folder.parent.exists():
        _create(folder.parent)
    folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)


def _restrict(path: Path) -> bool:
    """Remove other users' access to a file or folder, and return whether they had any."""
    with suppress(FileNotFoundError):  # another process has removed or renamed it
        mode = path.lstat().st_mode
        if mode & _OTHERS and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
            return True
    return False
