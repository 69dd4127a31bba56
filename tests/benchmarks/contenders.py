"""The services that are compared, each a process of its own with a database of its own."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.load import Load, run_wrk
from tests.benchmarks.postgres import Postgres
from tests.benchmarks.processes import (
    SERVICE_CORES,
    are_idle,
    cpu_seconds,
    memory_bytes,
    pinned,
    process_tree,
    run,
)
from tests.benchmarks.seeding import HEXTASKS, USUAL_STACK, Schema
from tests.benchmarks.statements import STATEMENTS
from tests.benchmarks.workload import SECRET, Requests
from tests.wires import free_port

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".bench"
"""Where `make bench` installs what only contenders need."""
START_SECONDS = 30.0
WITHOUT_METRICS = "no-metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A service that answers the API of tasks. `{port}` in its command stands for the port."""

    name: str
    command: tuple[str, ...]
    checkout: Path | None = ROOT
    """The checkout of hextasks that migrates the database; None where the service creates its tables."""
    schema: Schema = HEXTASKS
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running contender."""

    name: str
    port: int
    pid: int
    database: str
    schema: Schema
    start_seconds: float

    def load(self, requests: Requests, file: Path, *, clients: int, seconds: float, sent: int) -> Load:
        """Have wrk send requests of a file."""
        return run_wrk(self.port, file, clients=clients, seconds=seconds, first=sent, cycle=requests.may_cycle)

    def is_idle(self) -> bool:
        """Return whether it, its child processes included, has nothing to do."""
        return are_idle(process_tree(self.pid))

    def cpu_seconds(self) -> float:
        """Return the processor time used so far, that of child processes included."""
        return cpu_seconds(process_tree(self.pid))

    def memory_bytes(self) -> int:
        """Return the memory in use, that of child processes included."""
        return memory_bytes(process_tree(self.pid))


def hextasks(name: str = "hextasks", checkout: Path = ROOT, **settings: str) -> Contender:
    """Return hextasks as it is shipped, with metrics, of a checkout that has its own .venv."""
    return Contender(name=name, command=(str(_executable(checkout)), "serve"), checkout=checkout, environment=settings)


def without_metrics() -> Contender:
    """Return hextasks, which counts nothing for metrics."""
    return hextasks(WITHOUT_METRICS, METRICS="false")


def usual_stack() -> Contender:
    """Return FastAPI with SQLModel."""
    uvicorn = TOOLS / "usual" / "bin" / "uvicorn"
    app = ("--app-dir", str(Path(__file__).parent), "usual_stack:app", "--no-access-log", "--port", "{port}")
    return Contender(name="usual", command=(str(uvicorn), *app), checkout=None, schema=USUAL_STACK)


def limit() -> Contender:
    """Return the bare ASGI callable."""
    app = ("tests.benchmarks.limit:app", "--no-access-log", "--log-level", "warning", "--port", "{port}")
    return Contender(name="limit", command=(sys.executable, "-m", "uvicorn", *app))


def fastify() -> Contender:
    """Return Fastify with postgres.js."""
    server = TOOLS / "fastify" / "server.js"
    shutil.copytree(Path(__file__).with_name("fastify"), server.parent, dirs_exist_ok=True)
    if not (server.parent / "node_modules").exists():
        run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], cwd=server.parent)
    environment = {"NODE_ENV": "production", "STATEMENTS": json.dumps(STATEMENTS)}
    return Contender(name="fastify", command=("node", str(server)), environment=environment)


def _executable(checkout: Path) -> Path:
    return checkout / ".venv" / "bin" / "hextasks"


@contextmanager
def running(
    contender: Contender,
    postgres: Postgres,
    folder: Path,
    *,
    database: str | None = None,
    cores: tuple[int, ...] = SERVICE_CORES,
    **settings: str,
) -> Iterator[Service]:
    """Run a contender on a new database, or on one that is there, until the end of the block."""
    if database is None:
        database = f"bench-{contender.name}-{time.monotonic_ns()}"
        if contender.checkout:
            create_migrated_database(postgres, database, contender.checkout)
        else:
            postgres.create_database(database)
    port = free_port()
    environment = _environment(postgres, database) | {
        "PORT": str(port),
        "ADMIN_PORT": str(free_port()),
        "LOG_LEVEL": "INFO",
    }
    environment |= {**contender.environment, **settings}
    command = [part.format(port=port) for part in contender.command]
    log_file = folder / f"{database}.log"
    with log_file.open("ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            pinned(cores, *command),
            cwd=contender.checkout or ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait(process, port, log_file)
            yield Service(
                name=contender.name,
                port=port,
                pid=process.pid,
                database=database,
                schema=contender.schema,
                start_seconds=time.perf_counter() - began,
            )
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def create_migrated_database(postgres: Postgres, name: str, checkout: Path = ROOT) -> None:
    """Create a database with the tables of hextasks."""
    postgres.create_database(name)
    run([str(_executable(checkout)), "migrate"], cwd=checkout, env=_environment(postgres, name))


def _environment(postgres: Postgres, database: str) -> dict[str, str]:
    given = {"ENVIRONMENT": "production", "DATABASE_URL": postgres.url(database), "JWT_SECRET": SECRET}
    return {"PATH": os.environ["PATH"]} | given


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Return as soon as the service is ready."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.005)
    raise RuntimeError(f"{process.args!r} did not become ready: {log.read_text(errors='replace')[-2000:]}")
