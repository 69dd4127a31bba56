"""The embedded PostgreSQL as root, and as a user without any rights beyond a home of their own."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.patience import SERVER_DEADLINE_SECONDS

pytestmark = pytest.mark.database

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
OTHER_USER: dict[str, Any] = {"user": "nobody", "extra_groups": []} if IS_ROOT else {}

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
        assert ran.stderr == "The embedded PostgreSQL has died; it is started again.\n"
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
