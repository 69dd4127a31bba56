"""The commands. A failure that an operator can correct is one line; only defects of the service show a traceback.

Modules that only one command needs are imported by it: the web framework loads slower than most commands run.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable

import msgspec

from application import StorageUnavailable
from domain import InvalidText
from entrypoints.cli import counted
from entrypoints.console import printable
from entrypoints.settings import Settings, SettingsError
from entrypoints.start import StartError, describe_failure, development_token, prepared_database, with_kept_secret
from entrypoints.storage import opened_postgres


def run(given: argparse.Namespace) -> int:
    """Run the command that was given and return the exit status."""
    try:
        return _COMMANDS[given.command](given)
    except (SettingsError, StartError, InvalidText) as error:
        return _failed(str(error))
    except StorageUnavailable as error:
        return _failed(
            f"the database is unavailable: {describe_failure(error)}. Check DATABASE_URL. Run: hextasks doctor"
        )
    except KeyboardInterrupt:
        return 130


def _failed(reason: str) -> int:
    print(f"hextasks: {printable(reason)}", file=sys.stderr)  # it may repeat a file, or what a server says
    return 1


def _serve(given: argparse.Namespace) -> int:
    workers = "1" if given.reload else given.workers
    options = {"HOST": given.host, "PORT": given.port, "WEB_CONCURRENCY": workers}
    os.environ |= {name: value for name, value in options.items() if value is not None}
    settings = Settings.load()
    if given.reload and settings.in_production:
        raise StartError("--reload is for development only")
    from entrypoints.cli.serve import serve

    return serve(settings, reload=given.reload)


def _migrate(_: argparse.Namespace) -> int:
    with prepared_database(Settings.load(), otherwise="has nothing to migrate") as settings:
        print(asyncio.run(_migrated(settings)))
    return 0


async def _migrated(settings: Settings) -> str:
    async with opened_postgres(settings) as storage:
        return str(await storage.migrate())


def _distribute(_: argparse.Namespace) -> int:
    with prepared_database(Settings.load(), otherwise="has no nodes") as settings:
        print(f"the tables are distributed by user: {asyncio.run(_distributed(settings))}")
    return 0


async def _distributed(settings: Settings) -> str:
    from adapters.postgres import distribute

    async with opened_postgres(settings) as storage:
        return str(await distribute(storage.database))


def _data(given: argparse.Namespace) -> int:
    from entrypoints.cli import data

    commands = {"export": data.export, "import": data.import_, "purge": data.purge, "forget": data.forget}
    return commands[given.command](given)


def _backups(given: argparse.Namespace) -> int:
    from entrypoints.cli import backups

    return backups.backup(given) if given.command == "backup" else backups.restore_(given)


def _restored(_: argparse.Namespace) -> int:
    with prepared_database(Settings.load(), otherwise="is not restored") as settings:
        print(f"the sync tokens of {counted(asyncio.run(_renewed(settings)), 'user')} have expired")
    return 0


async def _renewed(settings: Settings) -> int:
    async with opened_postgres(settings) as storage:
        return await storage.renew_epochs()


def _token(given: argparse.Namespace) -> int:
    settings = Settings.load()
    if settings.in_production:
        raise StartError("tokens are issued in development only; in production your identity provider issues them")
    print(development_token(with_kept_secret(settings), given.user))
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from entrypoints.cli.doctor import doctor

    return doctor()


def _openapi(_: argparse.Namespace) -> int:
    from entrypoints.http.app import api_document

    print(msgspec.json.format(msgspec.json.encode(api_document()), indent=2).decode())
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "serve": _serve,
    "migrate": _migrate,
    "distribute": _distribute,
    "export": _data,
    "import": _data,
    "purge": _data,
    "forget": _data,
    "backup": _backups,
    "restore": _backups,
    "restored": _restored,
    "token": _token,
    "doctor": _doctor,
    "openapi": _openapi,
}
