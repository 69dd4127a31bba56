"""The command line: `hextasks serve`, and the commands that COMMANDS lists."""

import argparse
import gc
import os
import signal
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

GC_THRESHOLD = 20_000
"""Objects made and not yet freed, before the youngest are examined for cycles. Python's default is 700."""


class Command(NamedTuple):
    """What the help says of a command, and what it takes."""

    summary: str
    examples: tuple[str, ...]
    arguments: Mapping[str, dict[str, Any]] = MappingProxyType({})
    """As argparse has them; without those of `serve`, which depend on each other."""


_USER = {"metavar": "USER", "help": "the id of the user"}


COMMANDS = {
    "serve": Command(
        "run the service; in development it migrates the database",
        (
            "hextasks serve --port 9000",
            "hextasks serve --host 0.0.0.0 --workers 4",
            "hextasks serve --reload",
            "DATABASE_URL=memory:// hextasks serve",
        ),
    ),
    "migrate": Command(
        "migrate the database to the newest schema",
        ("DATABASE_URL=postgresql://owner:password@db.example.com/hextasks hextasks migrate",),
    ),
    "distribute": Command(
        "distribute the tables over the nodes of a Citus cluster, by user",
        ("DATABASE_URL=postgresql://owner:password@coordinator.example.com/hextasks hextasks distribute",),
    ),
    "export": Command(
        "write a user's tasks to standard output, one a line",
        ("hextasks export ada > ada.ndjson", "hextasks export ada | DATABASE_URL=postgresql://… hextasks import ada"),
        {"user": _USER},
    ),
    "import": Command(
        "add tasks that export has written; those that exist are kept",
        ("hextasks import ada ada.ndjson", "hextasks import ada --replace ada.ndjson"),
        {
            "user": {"metavar": "USER", "help": "the id of the user who becomes the owner of the tasks"},
            "file": {"metavar": "FILE", "nargs": "?", "help": "the file to read; without one, or -, standard input"},
            "--replace": {
                "action": "store_true",
                "help": "replace tasks that exist with other values; without it they stay, and the exit status is 1",
            },
        },
    ),
    "forget": Command(
        "delete everything of a user for ever",
        ("hextasks forget ada", "hextasks forget ada --yes"),
        {"user": _USER, "--yes": {"action": "store_true", "help": "do not ask for a confirmation"}},
    ),
    "purge": Command(
        "delete records of deletions and idempotency keys that are older than they are kept",
        ("hextasks purge", "TOMBSTONE_DAYS=7 hextasks purge"),
    ),
    "backup": Command(
        "write the embedded database to a file, also while the service runs",
        ("hextasks backup hextasks.sql.gz",),
        {"file": {"metavar": "FILE", "help": "the file to write; one that exists is replaced at the end"}},
    ),
    "restore": Command(
        "read the embedded database from a file, while the service does not run; all sync tokens expire",
        ("hextasks restore hextasks.sql.gz", "hextasks restore --replace hextasks.sql.gz"),
        {
            "file": {"metavar": "FILE", "help": "a file that backup has written"},
            "--replace": {
                "action": "store_true",
                "help": "replace the database that exists; without it, it is kept, and the exit status is 1",
            },
        },
    ),
    "restored": Command(
        "make all sync tokens expire, after pg_restore or a restore by a provider", ("hextasks restored",)
    ),
    "token": Command(
        "print a token for a user (development only)",
        ("hextasks token ada", "TOKEN=$(hextasks token ada)"),
        {"user": {"metavar": "USER", "help": "the user id to put into the token"}},
    ),
    "doctor": Command(
        "check settings, traces, token key, database, privileges and migrations",
        ("hextasks doctor", "ENVIRONMENT=production hextasks doctor"),
    ),
    "openapi": Command("print the OpenAPI document as JSON", ("hextasks openapi > openapi.json",)),
}


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with 0, or with 1 and one line on standard error when it failed."""
    if os.getpid() == 1:  # in a container, where the system ignores signals that have no handler
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    gc.set_threshold(GC_THRESHOLD, 10, 10)  # collections while modules load find nothing and take a tenth of the start
    try:
        _run(arguments)
    except BrokenPipeError:
        sys.exit(0)
    finally:
        flush_output()
        gc.freeze()  # at its end the interpreter would examine all that is loaded: a fifth of the time of most commands


def flush_output() -> None:
    """Write what was printed, or discard it if its reader has closed the pipe, which is no failure of the command.

    Otherwise the interpreter would try again at its end, and exit with 120.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):  # one that was closed at the start is None
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def counted(count: int, thing: str) -> str:
    """Return a number of things in words."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _run(arguments: list[str] | None) -> NoReturn:
    given = _given(arguments)
    try:
        from entrypoints.cli import commands as run

        sys.exit(run.run(given))
    except ModuleNotFoundError as error:
        sys.exit(f"hextasks: {error.name} is not installed. Run: pip install 'hextasks[http,postgres,embedded]'")


def _given(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command and its arguments. Raises SystemExit.

    In `import USER --replace FILE`, argparse takes FILE, which is optional, for absent as soon as it meets `--replace`.
    """
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if given.command == "import" and given.file is None and len(rest) == 1 and not rest[0].startswith("-"):
        given.file = rest.pop()
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hextasks",
        description="A multi-tenant task service.",
        epilog="Settings come from the environment and from .env. `hextasks COMMAND --help` shows examples.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (summary, examples, arguments) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog="\n  ".join(["examples:", *examples]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for argument, options in arguments.items():
            command.add_argument(argument, **options)
        if name == "serve":
            command.add_argument("--host", help="the address to listen on, instead of HOST")
            command.add_argument("--port", help="the port to listen on, instead of PORT; 0: any free one")
            processes = command.add_mutually_exclusive_group()
            processes.add_argument("--workers", help="the number of server processes, instead of WEB_CONCURRENCY")
            processes.add_argument(
                "--reload", action="store_true", help="restart when the code changes (development only)"
            )
    return parser


class _Version(argparse.Action):
    """Prints the version, which takes a while to find."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print(version("hextasks"))
        parser.exit()
