"""`hextasks backup | restore`: the embedded database in one file."""

import argparse
from pathlib import Path

from adapters.embedded_postgres import EmbeddedPostgres, dump, has_tables, restore
from adapters.postgres import RENEW_RESTORED
from entrypoints.settings import Settings
from entrypoints.start import StartError, prepared


def backup(given: argparse.Namespace) -> int:
    """Write the database to a file."""
    settings, path = _embedded(), Path(given.file)
    if not EmbeddedPostgres(settings.data_dir / "postgres").has_data:
        raise StartError(f"there is no database in {settings.data_dir} yet")
    try:
        with prepared(settings) as ready:
            dump(ready.database_url or "", path)
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror}") from error
    print(f"wrote {path}, {path.stat().st_size:,} bytes")
    return 0


def restore_(given: argparse.Namespace) -> int:
    """Read the database from a file."""
    settings, path = _embedded(), Path(given.file)
    try:
        path.open("rb").close()
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from error
    with prepared(settings, alone=True) as ready:
        url = ready.database_url or ""
        if not given.replace and has_tables(url):
            raise StartError(f"there is a database in {settings.data_dir} already. To replace it, add --replace")
        restore(url, path, finish=RENEW_RESTORED)
    print(f"restored {path}; all sync tokens have expired")
    return 0


def _embedded() -> Settings:
    settings = Settings.load()
    if settings.storage != "embedded":
        raise StartError("this command is for the embedded database; for the one of DATABASE_URL use pg_dump")
    return settings
