"""The wheel: its content, its requirements, and that an installed copy works outside of the repository."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.database

ROOT = Path(__file__).parents[1]
PACKAGES = {"domain", "application", "adapters", "entrypoints"}
WITHOUT_THIRD_PARTIES = """
import sys
before = set(sys.modules)
import application, domain, adapters.memory
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(loaded - sys.stdlib_module_names))
"""
LIBRARY = """
import asyncio
from adapters.clock import SystemClock
from adapters.ids import Uuid7Ids
from adapters.memory import MemoryTaskRepository
from application import CreateTask, ListTasks, PageRequest
from domain import TaskDraft

async def main():
    tasks = MemoryTaskRepository()
    create = CreateTask(tasks=tasks, clock=SystemClock(), ids=Uuid7Ids())
    await create(actor="ada", user_id="ada", draft=TaskDraft(title="  Buy milk "))
    page = await ListTasks(tasks=tasks)(actor="ada", user_id="ada", page=PageRequest())
    print([task.title for task in page.tasks])

asyncio.run(main())
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without the variables of this environment and of the service."""
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "COVERAGE_", "UV_PROJECT"))
    }
    kept = {k: v for k, v in kept.items() if k not in _settings()}
    return subprocess.run(command, cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False)


def _settings() -> tuple[str, ...]:
    from entrypoints.settings import Settings

    return Settings.names()


def succeeded(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


class Builder:
    """Builds and installs with uv where there is one, and otherwise with a pip of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        fetched = ROOT / ".tools" / "bin"  # by make
        self.uv = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=fetched)
        if self.uv is None:
            venv.create(folder / "pip", with_pip=True)
        self.pip = folder / "pip" / "bin" / "python"

    def wheel(self) -> Path:
        out = self.folder / "dist"
        build = [self.uv, "build", "--wheel", "-o"] if self.uv else [self.pip, "-m", "pip", "wheel", "--no-deps", "-w"]
        succeeded(run(*build, out, ROOT, cwd=self.folder))
        [wheel] = out.glob("*.whl")
        return wheel

    def installed(self, wheel: Path, extras: str = "") -> Path:
        """Return the folder of programs of a new environment into which only the wheel was installed."""
        home = self.folder / f"venv{extras}"
        venv.create(home, symlinks=True)
        python = home / "bin" / "python"
        if self.uv:
            succeeded(run(self.uv, "pip", "install", "--python", python, f"{wheel}{extras}", cwd=self.folder))
        else:
            succeeded(run(self.pip, "-m", "pip", "--python", python, "install", f"{wheel}{extras}", cwd=self.folder))
        return python.parent


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return Builder(tmp_path_factory.mktemp("packaging"))


@pytest.fixture(scope="module")
def wheel(builder: Builder) -> Path:
    return builder.wheel()


@pytest.fixture(scope="module")
def bare(builder: Builder, wheel: Path) -> Path:
    return builder.installed(wheel)


@pytest.fixture(scope="module")
def full(builder: Builder, wheel: Path) -> Path:
    return builder.installed(wheel, "[postgres,http,embedded]")


def test_the_wheel_holds_the_packages_and_the_migrations_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    migrations = {name for name in names if name.startswith("adapters/postgres/alembic/")}
    sources = {path for path in (ROOT / "alembic").rglob("*") if path.suffix in (".py", ".mako")}
    assert migrations == {f"adapters/postgres/alembic/{path.relative_to(ROOT / 'alembic')}" for path in sources}
    modules = {path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assets = set((ROOT / "entrypoints" / "http" / "page" / "assets").iterdir())
    assert {str(path.relative_to(ROOT)) for path in modules | assets} <= set(names)
    kinds = (".py", "/py.typed", ".mako", *{path.suffix for path in assets})
    assert all(name.endswith(kinds) for name in names if ".dist-info/" not in name)
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_a_bare_install_brings_nothing_else(bare: Path) -> None:
    [packages] = bare.parent.glob("lib/python*/site-packages")
    assert [each.metadata["Name"] for each in importlib.metadata.distributions(path=[str(packages)])] == ["hextasks"]
    requirements = importlib.metadata.Distribution.at(next(packages.glob("*.dist-info"))).requires or []
    assert requirements
    assert all("extra ==" in requirement for requirement in requirements)


@pytest.mark.parametrize("environment", ["bare", "full"])
def test_the_library_loads_no_third_party(request: pytest.FixtureRequest, tmp_path: Path, environment: str) -> None:
    python = request.getfixturevalue(environment) / "python"
    loaded = succeeded(run(python, "-I", "-c", WITHOUT_THIRD_PARTIES, cwd=tmp_path)).split()
    assert loaded == ["adapters", "application", "domain"]


def test_the_library_works_bare(bare: Path, tmp_path: Path) -> None:
    assert succeeded(run(bare / "python", "-I", "-c", LIBRARY, cwd=tmp_path)) == "['Buy milk']\n"


def test_the_bare_command_says_what_to_install(bare: Path, tmp_path: Path) -> None:
    assert "serve" in succeeded(run(bare / "hextasks", "--help", cwd=tmp_path))
    for command in (["serve"], ["migrate"], ["doctor"], ["openapi"], ["token", "ada"]):
        refused = run(bare / "hextasks", *command, cwd=tmp_path)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert re.fullmatch(r"hextasks: .*pip install 'hextasks\[[a-z,]+\]'\n", refused.stderr)


def test_an_installed_copy_migrates_and_is_healthy_in_an_empty_folder(full: Path, tmp_path: Path) -> None:
    assert "migrated from revision none" in succeeded(run(full / "hextasks", "migrate", cwd=tmp_path))
    report = succeeded(run(full / "hextasks", "doctor", cwd=tmp_path))
    assert [line.split()[0] for line in report.splitlines()] == ["ok"] * 5
    assert [path.name for path in tmp_path.iterdir()] == [".data"]
    assert not (tmp_path / ".data" / "postgres" / "data" / "postmaster.pid").exists()


def test_the_installed_copy_is_the_one_that_ran(full: Path, tmp_path: Path) -> None:
    where = "import entrypoints.cli, adapters.postgres.migrations as m; print(entrypoints.cli.__file__, m.LOCATION)"
    module, migrations = succeeded(run(full / "python", "-I", "-c", where, cwd=tmp_path)).split()
    assert module.startswith(str(full.parent))
    assert migrations.startswith(str(full.parent))
