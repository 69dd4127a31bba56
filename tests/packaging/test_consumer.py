"""A project with a `domain` and an `application` of its own, beside the installed wheel."""

import re
import shutil
from pathlib import Path

import pytest

from hatch_build import LAYERS
from tests.databases import Server
from tests.packaging.installed import ROOT, bare, full, succeeded
from tests.type_checks import mypy

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent / "consumer"
PYRIGHT = ROOT / ".clients" / "node_modules" / ".bin" / "pyright"
BARE = ("main.py", "application", "domain")
IMPORT_ALL = f"""
import importlib, pkgutil, sys
import application, domain, hextasks
for module in pkgutil.walk_packages(hextasks.__path__, "hextasks."):
    importlib.import_module(module.name)
print(sorted(sys.modules.keys() & {set(LAYERS)!r}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(HERE, tmp_path_factory.mktemp("consumer") / "bookshop")


def test_every_module_imports_beside_packages_of_the_same_names(project: Path) -> None:
    assert succeeded(full() / "python", "-c", IMPORT_ALL, cwd=project) == "['application', 'domain']\n"


def test_the_program_runs_bare(project: Path) -> None:
    printed = succeeded(bare() / "python", "main.py", "memory://", cwd=project)
    assert printed == "The title must not be empty.\npacker-of-ada: Pack Ulysses\n"


@pytest.mark.database
async def test_tasks_and_rows_of_the_project_share_a_transaction(project: Path, server: Server) -> None:
    printed = succeeded(full() / "python", "transaction.py", await server.new_database(), cwd=project)
    assert printed == "['grace']\n[0, 2]\n"


def test_mypy_finds_nothing(project: Path) -> None:
    succeeded(*mypy("consumer", "--python-executable", full() / "python", "."), cwd=project)


@pytest.mark.skipif(not PYRIGHT.exists(), reason="`make clients` has not installed pyright")
def test_pyright_finds_nothing(project: Path) -> None:
    succeeded(PYRIGHT, "--pythonpath", bare() / "python", *BARE, cwd=project)
    succeeded(PYRIGHT, "--pythonpath", full() / "python", cwd=project)


@pytest.mark.database
async def test_alembic_of_the_project_runs_the_migrations_of_the_wheel(project: Path, server: Server) -> None:
    alembic = "from alembic.config import main; main(['upgrade', 'head']); main(['check'])"  # in one process
    succeeded(full() / "python", "-c", alembic, cwd=project, DATABASE_URL=await server.new_database())


@pytest.mark.database
async def test_the_installed_adapters_pass_the_shipped_contract(project: Path, server: Server) -> None:
    pytest_command = (full() / "python", "-m", "pytest", "-q", "contract.py")
    printed = succeeded(*pytest_command, cwd=project, TEST_DATABASE_URL=await server.new_database())
    assert int(re.findall(r"^(\d+) passed", printed, re.MULTILINE)[0]) > 100
