"""The command line: `hextasks serve | migrate | purge | restored | token USER | doctor | openapi`."""

import argparse
import os
import sys
from importlib.metadata import version
from typing import NoReturn

COMMANDS = {
    "serve": "run the service; in development it migrates the database",
    "migrate": "migrate the database to the newest schema",
    "purge": "delete records of deletions and idempotency keys that are older than they are kept",
    "restored": "make all sync tokens expire, after the database was restored from a backup",
    "token": "print a token for a user (development only)",
    "doctor": "check settings, token key, database, privileges and migrations",
    "openapi": "print the OpenAPI document as JSON",
}


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with 0, or with 1 and one line on standard error when it failed."""
    try:
        _run(arguments)
    except BrokenPipeError:
        sys.exit(0)
    finally:
        flush_output()


def flush_output() -> None:
    """Write what was printed, or discard it if its reader has closed the pipe, which is no failure of the command.

    Otherwise the interpreter would try again at its end, and exit with 120.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):  # one that was closed at the start is None
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(arguments: list[str] | None) -> NoReturn:
    parser = argparse.ArgumentParser(prog="hextasks", description="A multi-tenant task service.")
    parser.add_argument("--version", action="version", version=version("hextasks"))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == "token":
            command.add_argument("user", metavar="USER", help="the user id to put into the token")
    given = parser.parse_args(arguments)
    try:
        from entrypoints.cli import commands as run

        sys.exit(run.run(given))
    except ModuleNotFoundError as error:
        sys.exit(f"hextasks: {error.name} is not installed. Run: pip install 'hextasks[http,postgres,embedded]'")
