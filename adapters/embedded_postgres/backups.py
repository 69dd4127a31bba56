"""Backups of the embedded database, with PostgreSQL's own programs."""

import errno
import gzip
import os
import secrets
import stat
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from adapters.embedded_postgres.errors import EmbeddedPostgresError
from adapters.embedded_postgres.server import ENVIRONMENT, binaries

_OF_POSTGRES = "(nspname LIKE 'pg\\_%' OR nspname = 'information_schema')"
_COUNT_TABLES = f"""
    SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND NOT {_OF_POSTGRES}
"""  # noqa: S608  # constants only
# Everything is dropped, and not only what the backup has: that of an older version lacks tables that exist now.
_BEGIN = f"""
    SET client_min_messages = error;
    SET lock_timeout = '10s';
    BEGIN;
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT quote_ident(nspname) FROM pg_namespace WHERE NOT {_OF_POSTGRES} LOOP
            EXECUTE 'DROP SCHEMA ' || name || ' CASCADE';
        END LOOP;
    END $$;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO public;
"""  # noqa: S608  # constants only
_PSQL = ("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1")
_RESTRICTIONS = (b"\\restrict ", b"\\unrestrict ")
_PART_BYTES = 65_536


def has_tables(url: str) -> bool:
    """Return whether a database has any table but PostgreSQL's own. Raises EmbeddedPostgresError."""
    with _programs() as programs, tempfile.TemporaryFile() as found:
        programs.run(*_PSQL, "--tuples-only", f"--command={_COUNT_TABLES}", f"--dbname={url}", stdout=found)
        found.seek(0)
        return int(found.read()) > 0


def dump(url: str, path: Path) -> None:
    """Write a database to a file, which only this user may read, and which is complete or not there at all.

    It is compressed SQL, whose checksum detects damage, which `pg_restore` does not do for its own format. A file that
    exists is replaced, but no device and no link. The dump is one snapshot, while others use the database. Raises
    EmbeddedPostgresError and OSError.
    """
    with _programs() as programs, _replacing(path) as file:
        options = ("--compress=gzip", "--no-owner", "--no-privileges")
        programs.run("pg_dump", *options, f"--dbname={url}", stdout=file)


def restore(url: str, path: Path, *, finish: str) -> None:
    """Replace all that is in a database by a dump, and run an SQL statement, in one transaction.

    The statement names tables with their schemas, because the search path is empty. Raises EmbeddedPostgresError; then
    the database is as it was. Commands to psql in the file, which could start programs, are such an error.
    """
    key = secrets.token_hex(16)
    with _programs() as programs:
        psql = programs.start(*_PSQL, "--output=/dev/null", f"--dbname={url}", stdin=subprocess.PIPE)
        assert psql.stdin  # noqa: S101  # for type checkers
        try:
            with psql.stdin as script, gzip.open(path) as file:
                script.write(f"{_BEGIN}\\restrict {key}\n".encode())
                script.writelines(_unrestricted(file))  # raises an error at the end of a damaged file: no COMMIT then
                script.write(f"\\unrestrict {key}\n{finish};\nCOMMIT;\n".encode())
        except BrokenPipeError:
            pass  # psql has failed, and says why
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise EmbeddedPostgresError(f"{path} is damaged, or no backup: {error}") from error
        programs.check()


def _unrestricted(dump: gzip.GzipFile) -> Iterator[bytes]:
    """Yield a dump in parts, without the restriction that it puts on itself, because they cannot be nested."""
    begins_line = True
    while part := dump.readline(_PART_BYTES):
        if not (begins_line and part.startswith(_RESTRICTIONS)):
            yield part
        begins_line = part.endswith(b"\n")


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `path`, and put it there when it is written and on the disk."""
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):  # root would replace /dev/stdout
        raise OSError(errno.EINVAL, "it is not a regular file")
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(new, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            yield file
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class _Programs:
    """Programs of PostgreSQL, and the file that has what they say on standard error."""

    def __init__(self, errors: IO[bytes]) -> None:
        self._binaries = binaries()
        self._errors = errors
        self._started: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str, stdout: IO[bytes]) -> None:
        """Run a program to its end. Raises EmbeddedPostgresError."""
        self.start(*command, stdout=stdout)
        self.check()

    def start(
        self, *command: str, stdin: int = subprocess.DEVNULL, stdout: int | IO[bytes] = subprocess.DEVNULL
    ) -> "subprocess.Popen[bytes]":
        """Start a program."""
        program = [str(self._binaries / command[0]), *command[1:]]
        process = subprocess.Popen(  # noqa: S603  # the wheel's own binaries
            program, stdin=stdin, stdout=stdout, stderr=self._errors, env=ENVIRONMENT
        )
        self._started.append(process)
        return process

    def check(self) -> None:
        """Wait for the programs. Raises EmbeddedPostgresError with the first line that one of them has written."""
        if failed := [process for process in self._started if process.wait() != 0]:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            raise EmbeddedPostgresError(said[0] if said else f"a program ended with {failed[0].returncode}")

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()


@contextmanager
def _programs() -> Iterator[_Programs]:
    with tempfile.TemporaryFile() as errors:
        programs = _Programs(errors)
        try:
            yield programs
        finally:
            programs.end()
