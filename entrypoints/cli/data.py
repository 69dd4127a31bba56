"""`hextasks export | import | purge | forget`: what goes into the database, out of it, and away."""

import argparse
import asyncio
import os
import stat
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from uuid import UUID

import asyncpg

from application import Imported, StorageUnavailable, Tasks
from application.import_tasks import IMPORT_BATCH
from domain import Task
from domain.rules import USER_ID
from entrypoints.cli import counted
from entrypoints.cli.export_format import BadLine, End, Header, encoded, read_tasks
from entrypoints.cli.progress import Progress
from entrypoints.console import printable
from entrypoints.container import Container
from entrypoints.settings import Settings
from entrypoints.start import StartError, prepared_database
from entrypoints.storage import opened_postgres

CHUNK_BYTES = 65_536
MOST_NAMED = 20
"""Tasks that are named in a message."""


@asynccontextmanager
async def _opened_tasks(settings: Settings, *, begin_list_of: str | None = None) -> AsyncIterator[Tasks]:
    async with opened_postgres(settings) as storage:
        await storage.start()
        if begin_list_of:
            await storage.begin_list(begin_list_of)
        container = Container(settings=settings)
        container.storage.override(storage)
        yield container.use_cases()


def export(given: argparse.Namespace) -> int:
    """Write a user's tasks to standard output."""
    USER_ID.check(given.user)
    if sys.stdout is None:  # closed
        raise StartError("there is no standard output")
    with prepared_database(Settings.load(), otherwise="has nothing to export") as settings, Progress() as progress:
        try:
            # Not sys.stdout, which at its end would try again to write what could not be written.
            with open(sys.stdout.fileno(), "wb", closefd=False) as file:
                asyncio.run(_exported(settings, given.user, file, progress))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StartError(f"cannot write the tasks: {error.strerror}") from error
    return 0


async def _exported(settings: Settings, user_id: str, file: IO[bytes], progress: Progress) -> None:
    async with _opened_tasks(settings) as tasks:
        chunk = bytearray(encoded(Header(user_id=user_id, exported_at=datetime.now(UTC))))
        count = 0
        async for task in tasks.of(user_id).export():
            chunk += encoded(task)
            count += 1
            if len(chunk) >= CHUNK_BYTES:
                file.write(chunk)
                chunk.clear()
                progress.show(count)
        file.write(chunk + encoded(End(tasks=count)))


@dataclass(slots=True)
class _Total:
    """What an import has done: the numbers of tasks, and only some ids, because a file may have any number of tasks."""

    counts: Counter[str] = field(default_factory=lambda: Counter(added=0, replaced=0, unchanged=0))
    kept: list[UUID] = field(default_factory=list)
    deleted: list[UUID] = field(default_factory=list)

    def add(self, part: Imported) -> None:
        self.counts.update(added=part.added, replaced=part.replaced, unchanged=part.unchanged)
        self.counts.update(kept=len(part.kept), deleted=len(part.deleted))
        self.kept = [*self.kept, *part.kept][:MOST_NAMED]
        self.deleted = [*self.deleted, *part.deleted][:MOST_NAMED]

    def __str__(self) -> str:
        words = {"kept": "kept as they are", "deleted": "deleted here before"}
        return ", ".join(f"{count} {words.get(name, name)}" for name, count in self.counts.items())

    def left(self, *, replaces: bool) -> Iterator[str]:
        """Yield a line for each reason why tasks of the file are not in the list."""
        if self.kept:
            why = "another created_at" if replaces else "other values, and --replace was not given"
            count = self.counts["kept"]
            yield f"{counted(count, 'task')} kept; the file has {why}: {_named(self.kept, count)}"
        if self.deleted:
            count = self.counts["deleted"]
            yield f"{counted(count, 'task')} left out, as deleted by the user: {_named(self.deleted, count)}"


def _named(ids: list[UUID], count: int) -> str:
    return ", ".join(map(str, ids)) + (", …" if len(ids) < count else "")


def import_(given: argparse.Namespace) -> int:
    """Read a user's tasks from a file or standard input; return 1 if not all of them are in the list now."""
    USER_ID.check(given.user)
    total, problems = _Total(), []
    with (
        _opened(given.file) as file,
        prepared_database(Settings.load(), otherwise="keeps nothing") as settings,
    ):
        try:
            with Progress(_size(file)) as progress:
                asyncio.run(_imported(settings, given.user, file, total, progress, replaces=given.replace))
        except BadLine as error:
            problems.append(f"{str(error).removesuffix('.')}. What is before it was imported.")
        finally:
            print(f"tasks of {given.user}: {total}")
    problems += total.left(replaces=given.replace)
    for problem in problems:
        print(f"hextasks: {printable(problem)}", file=sys.stderr)
    return int(bool(problems))


async def _imported(
    settings: Settings, user_id: str, file: IO[bytes], total: _Total, progress: Progress, *, replaces: bool
) -> None:
    async with _opened_tasks(settings, begin_list_of=user_id) as tasks:
        for batch, size in _batches(read_tasks(file, user_id=user_id)):
            total.add(await tasks.of(user_id).import_(batch, replace=replaces))
            progress.show(total.counts.total(), size)


def _batches(read: Iterator[tuple[int, Task]]) -> Iterator[tuple[list[Task], int]]:
    """Yield batches of tasks, with the number of bytes read until then. BadLine is raised after the last batch."""
    batch: list[Task] = []
    size = 0
    try:
        for size, task in read:
            batch.append(task)
            if len(batch) == IMPORT_BATCH:
                yield batch, size
                batch = []
    except BadLine:
        yield batch, size
        raise
    yield batch, size


def _opened(name: str | None) -> AbstractContextManager[IO[bytes]]:
    if name in (None, "-"):
        if sys.stdin is None:  # closed
            raise StartError("there is no standard input")
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(name or "").open("rb")
    except OSError as error:
        raise StartError(f"cannot read {name}: {error.strerror}") from error


def _size(file: IO[bytes]) -> int | None:
    about = os.fstat(file.fileno())
    return about.st_size if stat.S_ISREG(about.st_mode) else None


def purge(_: argparse.Namespace) -> int:
    """Delete what is older than it is kept."""
    with prepared_database(Settings.load(), otherwise="has nothing to purge") as settings:
        print(f"purged {asyncio.run(_purged(settings))} deletions and idempotency keys")
    return 0


async def _purged(settings: Settings) -> int:
    count = 0
    async with _opened_tasks(settings) as tasks:
        while batch := await tasks.purge():
            count += batch
    return count


def forget(given: argparse.Namespace) -> int:
    """Delete everything of a user, after a confirmation."""
    USER_ID.check(given.user)
    with prepared_database(Settings.load(), otherwise="keeps nothing") as settings:
        if not given.yes and not _is_confirmed(given.user):
            raise StartError("nothing was deleted")
        count = asyncio.run(_forgotten(settings, given.user))
        print(f"deleted everything of {given.user}: {counted(count, 'record')}")
    return 0


async def _forgotten(settings: Settings, user_id: str) -> int:
    async with _opened_tasks(settings) as tasks:
        try:
            return await tasks.forget(user_id)
        except StorageUnavailable as error:
            if isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
                raise StartError(
                    f"{error.__cause__}. Run it as the owner of the tables; nothing was deleted"
                ) from error
            raise


def _is_confirmed(user_id: str) -> bool:
    if not sys.stdin.isatty():
        raise StartError("forget deletes everything of a user for ever; without a terminal it needs --yes")
    print(f"Delete all tasks of {user_id} for ever? Type yes: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == "yes"
