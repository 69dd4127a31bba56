"""The wheel, and environments into which only it is installed: each made once for all processes of a test run."""

import fcntl
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from entrypoints.settings import Settings
from tests.embedded_servers import RUN_FOLDER
from tests.patience import GENEROUS

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
TESTING = ("pytest", "pytest-asyncio", "hypothesis")
"""What the contract suite needs, in the versions of the lock file."""


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without the variables of this environment and of the service, and with generous time limits."""
    removed = ("PYTHON", "VIRTUAL_ENV", "COVERAGE_", "UV_PROJECT", "PYTEST_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(removed) and k not in Settings.names()}
    return subprocess.run(
        command, cwd=cwd, env=kept | GENEROUS | environment, capture_output=True, text=True, check=False
    )


def succeeded(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command that has to succeed, and return what it prints."""
    result = run(*command, cwd=cwd, **environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def uv(*arguments: str | Path) -> str:
    """Run uv, which make has installed."""
    program = os.environ.get("UV") or shutil.which("uv", path=f"{os.environ['PATH']}:{ROOT / '.tools' / 'bin'}")
    assert program, "there is no uv; `make test` installs it"
    return succeeded(program, *arguments)


def distributions() -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it, as a release does, and return both."""
    folder = _made_once("dist", lambda folder: uv("build", "--out-dir", folder))
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def version_of(file: Path) -> str:
    """Return the version in the name of a wheel or an sdist."""
    return file.name.removesuffix(".tar.gz").split("-")[1]


def bare() -> Path:
    """Return the programs of an environment that has the wheel without extras."""
    return _made_once("bare", lambda folder: _install(folder, "")) / "bin"


def full() -> Path:
    """Return the programs of an environment that has the wheel with all extras, and what runs the contract suite."""
    extras = ",".join(PROJECT["project"]["optional-dependencies"])
    return _made_once("full", lambda folder: _install(folder, f"[{extras}]", *TESTING)) / "bin"


def _install(folder: Path, extras: str, *others: str) -> None:
    _, wheel = distributions()
    uv("venv", "--quiet", "--python", sys.executable, folder)
    constraints = folder / "constraints.txt"
    export = ("export", "--quiet", "--frozen", "--all-extras", "--no-emit-project", "--no-hashes", "--no-annotate")
    uv(*export, "--output-file", constraints)
    options = ("--quiet", "--python", folder / "bin" / "python", "--constraints", constraints)
    uv("pip", "install", *options, f"{wheel}{extras}", *others)
    _take_over_compiled(folder)


def _take_over_compiled(folder: Path) -> None:
    """Copy the same packages from the project's own environment, which has compiled them: that takes seconds."""
    but_postgres = shutil.ignore_patterns("pginstall*")
    [packages] = folder.glob("lib/*/site-packages")
    own = Path(pytest.__file__).parents[1]
    for package in packages.iterdir():
        if (own / package.name / "__init__.py").exists():
            shutil.copytree(own / package.name, package, ignore=but_postgres, dirs_exist_ok=True)


@cache
def _made_once(name: str, make: Callable[[Path], object]) -> Path:
    packaging = Path(os.environ[RUN_FOLDER]) / "packaging"
    packaging.mkdir(exist_ok=True)
    folder = packaging / name
    with (packaging / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (packaging / f"{name}.made").exists():
            make(folder)
            (packaging / f"{name}.made").touch()
    return folder
