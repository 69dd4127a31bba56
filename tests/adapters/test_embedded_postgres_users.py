"""The embedded PostgreSQL as root, in folders closed to others, and as a user who owns only a home folder."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from adapters.embedded_postgres import EmbeddedPostgres, server
from tests.embedded_servers import is_alive, needs_proc, query
from tests.patience import SERVER_DEADLINE_SECONDS

pytestmark = pytest.mark.database

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
OTHER_USER: dict[str, Any] = server.server_identity()
needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs root")

AS_ORDINARY_USER = """
import os, signal, subprocess, sys
from pathlib import Path
from adapters.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from adapters.embedded_postgres.server import binaries

assert os.geteuid() != 0
home = Path(sys.argv[1])
with EmbeddedPostgres(home / "pg").running() as url:
    psql = binaries() / "psql"
    ask = [psql, "-Atc", "SELECT current_user", url]
    print(subprocess.run(ask, capture_output=True, text=True, check=True).stdout)
    os.kill(int((home / "pg" / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    while subprocess.run(ask, capture_output=True).returncode != 0:
        pass
    assert (home / "pg" / "data").stat().st_uid == os.geteuid()
    assert not any(path.stat().st_mode & 0o077 for path in (home / "pg", *(home / "pg").iterdir()))
(home / "closed").mkdir(mode=0o500)
try:
    with EmbeddedPostgres(home / "closed" / "pg").running():
        pass
except EmbeddedPostgresError as error:
    print(error)
"""


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that only its owner may enter; pytest's own is one, too, so this lies beside it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@needs_root
@needs_proc
def test_closed_folders_above_the_data_stay_closed(closed: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = closed / "inner" / "pg"
    folder.mkdir(parents=True, mode=0o700)
    with EmbeddedPostgres(folder).running() as url:
        assert query(url, "SELECT 42") == 42
        assert (folder / "data").stat().st_uid != 0
    assert [mode(closed), mode(folder)] == [0o700, 0o700]
    assert not caplog.records


@pytest.fixture
def program(closed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The server's program, installed in the closed folder."""
    package = server.binaries().parents[1]
    for installed in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(installed, closed / installed.name, ignore=shutil.ignore_patterns("include"))
    program = closed / package.name / "pginstall18" / "bin" / "postgres"
    monkeypatch.setattr(server, "binaries", lambda: program.parent)
    return program


def granted(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition("to: ")[2] for record in caplog.records]


@needs_root
@needs_proc
def test_closed_folders_above_the_binaries_are_opened_for_passage_and_named_in_one_line(
    closed: Path, program: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        with EmbeddedPostgres(closed / "pg").running() as url:
            assert query(url, "SELECT 42") == 42
    assert granted(caplog) == [str(closed)]
    assert mode(closed) == 0o701


@needs_root
@needs_proc
@pytest.mark.parametrize("program_mode", [0o700, 0o711])  # uv installs programs with the second
def test_binaries_installed_with_a_strict_umask_are_opened(
    closed: Path, program: Path, program_mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    subprocess.run(["chmod", "-R", "go-rwx", closed], check=True)
    for each in program.parent.iterdir():
        each.chmod(program_mode)
    with EmbeddedPostgres(closed / "pg").running() as url:
        assert query(url, "SELECT 42") == 42
    package = program.parents[2]
    named = [closed, package, *program.parents[:2], package.with_name(f"{package.name}.libs")]
    assert granted(caplog) == [", ".join(map(str, sorted(named)))]


@needs_root
@needs_proc
def test_folders_that_are_closed_while_it_runs_do_not_keep_it_from_being_stopped(
    closed: Path, program: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedPostgres(closed / "pg").running():
        closed.chmod(0o700)
    assert not is_alive(closed / "pg")
    assert granted(caplog) == [str(closed)] * 2


def test_it_works_as_an_ordinary_user() -> None:
    packages = Path(asyncpg.__file__).parents[1]
    with tempfile.TemporaryDirectory(prefix="hextasks-test-") as home:
        if IS_ROOT:
            shutil.chown(home, "nobody")
        ran = subprocess.run(
            [_interpreter_for_others(), "-c", AS_ORDINARY_USER, home],
            cwd=home,
            env={"PATH": os.defpath, "PYTHONPATH": f"{ROOT}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=SERVER_DEADLINE_SECONDS,
            **OTHER_USER,
        )
        assert ran.stderr == "The embedded PostgreSQL has died; restarting it.\n"
        user, error = ran.stdout.split("\n\n")
        assert (user, error) == ("postgres", f"Permission denied: {home}/closed/pg\n")
        assert not (Path(home) / "pg" / "data" / "postmaster.pid").exists()


def _interpreter_for_others() -> str:
    """Return a Python that the server's user may run: root's own often lies in a folder closed to others."""
    check = f"import sys, os; sys.exit(sys.version_info < (3, 11) or not os.access({str(ROOT)!r}, os.X_OK))"
    for interpreter in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with suppress(OSError):
            if (
                subprocess.run([interpreter, "-c", check], check=False, cwd="/", stderr=-3, **OTHER_USER).returncode
                == 0
            ):
                return interpreter
    pytest.skip("no Python 3.11 that an ordinary user may run, or the code is closed to others")
