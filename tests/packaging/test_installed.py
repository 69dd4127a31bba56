"""The wheel in an environment of its own: what it brings, and the commands in an empty folder."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from tests.databases import Server, migrated
from tests.packaging.installed import ROOT, bare, distributions, full, run, succeeded, version_of
from tests.patience import DEADLINE_SECONDS, GENEROUS, SERVER_DEADLINE_SECONDS, eventually
from tests.wires import answers, free_port

pytestmark = pytest.mark.slow

LOADED = "import sys; before = set(sys.modules); import hextasks; print(*set(sys.modules) - before)"
README_PROGRAMS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


def test_a_bare_install_brings_nothing_else() -> None:
    [packages] = bare().parent.glob("lib/python*/site-packages")
    assert [each.metadata["Name"] for each in metadata.distributions(path=[str(packages)])] == ["hextasks"]
    top = {path.name for path in packages.iterdir() if not path.name.startswith(("_virtualenv", "__pycache__"))}
    assert top == {"hextasks", f"hextasks-{version_of(distributions()[1])}.dist-info"}


@pytest.mark.parametrize("programs", [bare, full])
def test_the_library_loads_no_third_party(tmp_path: Path, programs: Callable[[], Path]) -> None:
    loaded = succeeded(programs() / "python", "-I", "-c", LOADED, cwd=tmp_path).split()
    assert {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names == {"hextasks"}


def test_the_programs_of_the_readme_run_bare(tmp_path: Path) -> None:
    assert README_PROGRAMS
    for program in README_PROGRAMS:
        assert "title='Buy milk'" in succeeded(bare() / "python", "-I", "-c", program, cwd=tmp_path)


def test_the_bare_command_says_what_to_install(tmp_path: Path) -> None:
    assert "serve" in succeeded(bare() / "hextasks", "--help", cwd=tmp_path)
    assert succeeded(bare() / "hextasks", "--version", cwd=tmp_path).strip() == version_of(distributions()[1])
    for command in (["serve"], ["doctor"], ["token", "ada"]):
        refused = run(bare() / "hextasks", *command, cwd=tmp_path)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert re.fullmatch(r"hextasks: .*pip install 'hextasks\[[a-z,]+\]'\n", refused.stderr)


def test_the_document_is_that_of_the_repository(tmp_path: Path) -> None:
    document = json.loads(succeeded(full() / "python", "-m", "hextasks", "openapi", cwd=tmp_path))
    assert document == json.loads(succeeded(sys.executable, "-m", "hextasks", "openapi", cwd=ROOT))


@pytest.mark.database
def test_it_migrates_and_is_healthy_in_an_empty_folder(tmp_path: Path) -> None:
    assert "migrated from revision none" in succeeded(full() / "hextasks", "migrate", cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".data"]
    assert not (tmp_path / ".data" / "postgres" / "data" / "postmaster.pid").exists()
    report = succeeded(full() / "hextasks", "doctor", cwd=tmp_path)
    assert [line.split()[0] for line in report.splitlines()] == ["ok"] * 5


@pytest.fixture
async def database_url(server: Server) -> str:
    return await migrated(server)


@pytest.mark.database
def test_its_worker_processes_serve(tmp_path: Path, database_url: str) -> None:
    port = free_port()
    settings = GENEROUS | {"PORT": str(port), "WEB_CONCURRENCY": "2", "DATABASE_URL": database_url}
    with subprocess.Popen([full() / "hextasks", "serve"], cwd=tmp_path, env=settings, start_new_session=True) as served:
        try:
            eventually(lambda: answers(f"http://127.0.0.1:{port}/health/ready"), SERVER_DEADLINE_SECONDS)
        finally:
            served.send_signal(signal.SIGTERM)
        assert served.wait(DEADLINE_SECONDS) == 0
