"""Fixtures for all tests. The database server starts with the first test that uses it."""

import gc
import os
import pkgutil
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, settings

import adapters
import application
import domain
import entrypoints
import hextasks
from adapters.memory import MemoryTaskRepository
from adapters.postgres import Coalescing, Database, PostgresTaskRepository, migrate
from adapters.postgres.tables import metadata
from application import TaskRepository
from tests.cli.processes import COVERAGE
from tests.databases import Server, migrated, patient, running_server, server_kind
from tests.embedded_servers import RUN_FOLDER

# Until all tests are collected, because the collector would inspect all that is loaded again and again.
gc.disable()

# How much Hypothesis tries by default, and with --hypothesis-profile=fast or =torture.
settings.register_profile(
    "test", max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fast", settings.get_profile("test"), max_examples=10)
settings.register_profile("torture", settings.get_profile("test"), max_examples=5000, stateful_step_count=60)
settings.load_profile("test")

MEASURE: Any = sys.gettrace()
IN_MEMORY = "/dev/shm"
"""Where temporary files are on Linux: to make and copy clusters there takes a third of the processor time."""
ROOM_BYTES = 4 << 30
MARKS = {"client": ["slow"], "http": ["service"], "torture": ["service", "database"]}
"""The marks of all tests in a folder. Those of the client are not `service`, so that their own thread is measured."""
LEFT_OUT = re.compile(r"not \w+( and not \w+)*")
IN_A_SCHEMA: Coalescing = "user"
REPOSITORIES = [
    "memory",
    *(
        pytest.param(
            mode, id=f"postgres-{mode}", marks=[pytest.mark.database, *([pytest.mark.unmeasured] * (mode != "all"))]
        )
        for mode in get_args(Coalescing)
    ),
]


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder that the processes of this run share; export no traces.

    A process that only hands out tests is not measured.
    """
    if config.getoption("numprocesses", None):
        sys.settrace(None)
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        del os.environ[name]
    if RUN_FOLDER not in os.environ:
        if "TMPDIR" not in os.environ and has_room(IN_MEMORY):
            os.environ["TMPDIR"], tempfile.tempdir = IN_MEMORY, None
        os.environ[RUN_FOLDER] = folder = tempfile.mkdtemp(prefix="hextasks-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder))


def has_room(folder: str) -> bool:
    """Return whether temporary files may be in a folder: data of many servers, and programs."""
    if not os.access(folder, os.W_OK):
        return False
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize >= ROOM_BYTES and not about.f_flag & os.ST_NOEXEC


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not load a file of which `-m` leaves out every test: to load all takes longer than the fast tests do."""
    if collection_path.suffix != ".py" or not LEFT_OUT.fullmatch(config.option.markexpr):
        return None
    left_out = config.option.markexpr.replace("not ", "pytest.mark.").split(" and ")
    [marks] = re.findall(r"^pytestmark = (.*)", collection_path.read_text(), re.MULTILINE) or [""]
    return any(mark in re.findall(r"pytest\.mark\.\w+", marks) for mark in left_out) or None


def pytest_collection() -> None:
    """Measure what imports run, in one process, but not the collection of tests."""
    if sys.gettrace() and os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        for package in (domain, application, adapters, entrypoints, hextasks):
            for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
                import_module(module.name)
    sys.settrace(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder; put those that mostly wait first and in the middle.

    So two of four processes begin with these, and wait beside two that compute.
    """
    for item in items:
        for mark in MARKS.get(item.nodeid.split("/")[1], []):
            item.add_marker(mark)
    waiting = [item for item in items if item.get_closest_marker("waits")]
    others = [item for item in items if not item.get_closest_marker("waits")]
    half, middle = len(waiting) // 2, len(others) // 2
    items[:] = [*waiting[:half], *others[:middle], *waiting[half:], *others[middle:]]


def pytest_collection_finish() -> None:
    """Do not measure processes that tests start, unless they ask for it: coverage slows their start."""
    os.environ.pop(COVERAGE, None)
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Measure the thread of a test, unless it is marked `service` or `unmeasured`: to measure takes as long again.

    The service is in a thread of its own. Fixtures are not measured: most of their time is pytest's.
    """
    if not (item.get_closest_marker("service") or item.get_closest_marker("unmeasured")):
        sys.settrace(MEASURE)
    try:
        return (yield)
    finally:
        sys.settrace(None)


def pytest_report_header() -> str:
    return f"database: {server_kind()}"


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    with running_server() as url:
        yield url


@pytest.fixture(scope="session")
async def server(server_url: str) -> AsyncIterator[Server]:
    server = Server(server_url)
    yield server
    await server.drop_all()


@pytest.fixture(scope="session")
async def database(server: Server) -> AsyncIterator[Database]:
    """One migrated database for the whole run; `empty_database` empties it for each test."""
    database = patient(await migrated(server))
    yield database
    await database.close()


@pytest.fixture
async def empty_database(database: Database) -> Database:
    return await emptied(database)


@pytest.fixture(scope="session")
async def schema_database(server: Server) -> AsyncIterator[Database]:
    """A database whose tables are in a schema that is not in the search path."""
    database = patient(await server.new_database(), "hextasks")
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
async def empty_schema_database(schema_database: Database) -> Database:
    return await emptied(schema_database)


async def emptied(database: Database) -> Database:
    """Delete every row, which for few rows takes a tenth of the time of TRUNCATE."""
    async with database.connection() as connection:
        await connection.execute(
            ";".join(f"DELETE FROM {database.schema or 'public'}.{table}" for table in metadata.tables)
        )
    return database


@pytest.fixture
def postgres_tasks(empty_database: Database) -> PostgresTaskRepository:
    return PostgresTaskRepository(empty_database)


@pytest.fixture(params=REPOSITORIES)
def tasks(request: pytest.FixtureRequest) -> TaskRepository:
    """A repository without tasks: each test runs once with every adapter and every way to share statements.

    With one of these the tables are in a schema of their own.
    """
    if request.param == "memory":
        return MemoryTaskRepository()
    database = "empty_schema_database" if request.param == IN_A_SCHEMA else "empty_database"
    return PostgresTaskRepository(request.getfixturevalue(database), coalescing=request.param)
