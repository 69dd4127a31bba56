"""The embedded PostgreSQL as root, and as a user without any rights beyond a home of their own."""

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
from tests.embedded_servers import needs_proc, query
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


@needs_root
@needs_proc
@pytest.mark.parametrize("removed", ["", "go-rwx"], ids=["as shipped", "installed with a strict umask"])
def test_closed_folders_above_the_binaries_are_opened_for_passage_and_named_once(
    closed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, removed: str
) -> None:
    shipped = server.binaries().parents[1]
    package, libraries = closed / shipped.name, closed / f"{shipped.name}.libs"
    for copy in (package, libraries):
        shutil.copytree(shipped.with_name(copy.name), copy, ignore=shutil.ignore_patterns("include"))
        subprocess.run(["chmod", "-R", removed or "u+r", copy], check=True)
    program = package / "pginstall18" / "bin" / "postgres"
    monkeypatch.setattr(server, "binaries", lambda: program.parent)
    for _ in range(2):
        with EmbeddedPostgres(closed / "pg").running() as url:
            assert query(url, "SELECT 42") == 42
    assert mode(closed) == 0o701
    (record,) = caplog.records
    named = sorted([closed, *([package, *program.parents[:2], libraries] if removed else [])])
    assert record.getMessage().partition("to: ")[2] == ", ".join(map(str, named))


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
    """Find a Python that the server's user may run: root's own often lies in a folder closed to others."""
    check = f"import sys, os; sys.exit(sys.version_info < (3, 11) or not os.access({str(ROOT)!r}, os.X_OK))"
    for interpreter in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with suppress(OSError):
            if (
                subprocess.run([interpreter, "-c", check], check=False, cwd="/", stderr=-3, **OTHER_USER).returncode
                == 0
            ):
                return interpreter
    pytest.skip("no Python 3.11 that an ordinary user may run, or the code is closed to others")
