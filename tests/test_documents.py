"""The documents are executed: each block of code, every setting of `.env.example`, every link."""

import asyncio
import configparser
import inspect
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from adapters.embedded_postgres.server import binaries
from adapters.tokens.keys import SECRET_MIN_BYTES
from entrypoints.cli import COMMANDS
from entrypoints.settings import Settings
from tests.databases import Server
from tests.wires import free_port

ROOT = Path(__file__).parents[1]
HEXTASKS = str(Path(sys.executable).with_name("hextasks"))
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
}
CALLS = ["README.md", "docs/tutorial.md", "docs/guides/synchronize.md", "docs/guides/embedded-database.md"]
LIBRARY = ["README.md", "docs/guides/library.md", "docs/guides/domain-events.md", "docs/guides/mount.md"]
UNITS = ["docs/guides/production.md", "docs/guides/pgbouncer.md"]
EXECUTED = {
    *((document, "shell") for document in CALLS),
    ("docs/guides/backup.md", "shell"),
    ("docs/guides/data.md", "shell"),  # tests/cli/test_data.py
    ("docs/guides/mount.md", "shell"),
    ("docs/guides/client.md", "python"),
    ("docs/guides/testing.md", "python"),
    *((document, "python") for document in LIBRARY),
    *((document, "ini") for document in UNITS),  # that of PgBouncer runs in tests/torture/test_poolers.py
    ("docs/guides/monitoring.md", "ini"),  # tests/test_traces_environment.py
    *((f"docs/guides/{guide}.md", "yaml") for guide in ("monitoring", "kubernetes")),  # tests/test_metrics_documents.py
    ("docs/guides/roles.md", "sql"),  # tests/http/test_least_privilege.py
    ("docs/reference/events.md", "js"),  # tests/http/test_events.py
    ("CONTRIBUTING.md", "shell"),  # commands of make, which are only looked up
    ("docs/index.md", "shell"),  # the same
    ("docs/guides/docker.md", "shell"),  # tests/operations/test_image.py
    ("docs/guides/systemd.md", "shell"),  # the same, in a container
    ("docs/guides/kubernetes.md", "shell"),  # tests/operations/test_deployment.py
}
MASKS = {
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "<id>",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z": "<time>",
    r"\b(?!0{12})[0-9a-f]{12}-(?=\d)": "<epoch>-",
}


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENTS[document], re.DOTALL | re.MULTILINE)


def steps(document: str, language: str = "shell") -> list[tuple[str, str]]:
    """Return the code of a document after the quick start, each block with the output that follows it."""
    pattern = rf"^```{language}\n(.*?)^```(?:\n\n```(?:json|text)\n(.*?)^```)?"
    found = re.findall(pattern, DOCUMENTS[document], re.DOTALL | re.MULTILINE)
    return [step for step in found if not step[0].startswith("make ")]


def masked(text: str) -> str:
    for pattern, mask in MASKS.items():
        text = re.sub(pattern, mask, text)
    return text


def compare(shell: str, document: str, environment: dict[str, str], replaced: dict[str, str]) -> None:
    """Paste the commands of a document into one shell, and compare the output with what the document shows."""
    script = "set -euo pipefail\n" + "".join(f"{commands}\necho ---\n" for commands, _ in steps(document))
    expected = [shown for _, shown in steps(document)]
    for written, real in replaced.items():
        script = script.replace(written, real)
        expected = [shown.replace(written, real) for shown in expected]
    ran = subprocess.run([shell, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    for shown, answer in zip(expected, ran.stdout.split("---\n"), strict=False):
        printed = "".join(line for line in answer.splitlines(keepends=True) if line.strip())
        pattern = re.escape(masked(shown)).replace(",…,", ",[^{}]+,")  # further fields
        assert not shown or re.fullmatch(pattern, masked(printed)), printed


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The first command of the quick start, running; yields the environment it runs in."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    data = tmp_path_factory.mktemp("served")
    path = f"{binaries()}:{outside['PATH']}"
    environment = {**outside, "PATH": path, "DATA_DIR": str(data), "PORT": str(free_port())}
    first = blocks("README.md", "shell")[0]
    with subprocess.Popen(first.split(), cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as make:
        assert make.stdout is not None
        said = ""
        while f"http://127.0.0.1:{environment['PORT']}" not in said:
            assert select.select([make.stdout], [], [], 60)[0], "it says nothing"
            said += (line := make.stdout.readline())
            assert line, said
        yield environment
        subprocess.run(["pkill", "-TERM", "-P", str(make.pid)], check=False)
        make.terminate()


def test_every_block_of_code_is_executed() -> None:
    found = {
        (document, language)
        for document, text in DOCUMENTS.items()
        for language in re.findall(r"^```(\w+)\n.*?^```", text, re.DOTALL | re.MULTILINE)
    }
    assert {(document, language) for document, language in found if language not in ("text", "json")} == EXECUTED


@pytest.mark.database
@pytest.mark.parametrize("document", CALLS)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_commands_print_what_the_document_shows(served: dict[str, str], document: str, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    user = {name: f"{name}-{shell}" for name in re.findall(r"/api/(\w+)/tasks", DOCUMENTS[document])}
    assert len(steps(document)) >= 1
    compare(shell, document, served, {"8000": served["PORT"], "$PWD/.data": served["DATA_DIR"]} | user)


@pytest.mark.database
async def test_a_backup_is_restored(server: Server, tmp_path: Path) -> None:
    programs = {"PATH": f"{ROOT / '.venv/bin'}:{binaries()}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    environment = {**programs, "DATABASE_URL": await server.new_database(), "JWT_SECRET": "s" * 40}
    await asyncio.to_thread(subprocess.run, ["hextasks", "migrate"], env=environment, check=True, capture_output=True)
    replaced = {"hextasks.dump": str(tmp_path / "hextasks.dump")}
    await asyncio.to_thread(compare, "bash", "docs/guides/backup.md", environment, replaced)


def test_the_second_command_of_the_quick_start_runs_every_test() -> None:
    second = blocks("README.md", "shell")[1]
    command, environment = [*second.split(), "--dry-run"], {"PATH": os.environ["PATH"]}
    dry = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"-m pytest -n 4 --dist worksteal\s*$", dry.stdout, re.MULTILINE), "with nothing deselected"
    assert second.strip() in (ROOT / ".ci/run").read_text().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("document", LIBRARY)
def test_programs_print_what_the_document_shows(document: str) -> None:
    run_programs(document, dict(os.environ))


def run_programs(document: str, environment: dict[str, str]) -> None:
    """Run the programs of a document, and compare the output with what the document shows."""
    for program, shown in steps(document, "python"):
        command = [sys.executable, "-c", program]
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        pattern = re.escape(shown) or r"Task\(.* title='Buy milk', .* version=2[,)].*\n"
        assert re.fullmatch(pattern, ran.stdout), ran.stdout


@pytest.mark.database
def test_the_client_calls_the_service(served: dict[str, str]) -> None:
    token = subprocess.run([HEXTASKS, "token", "ada"], env=served, capture_output=True, text=True, check=True).stdout
    service = {"TASKS_URL": f"http://127.0.0.1:{served['PORT']}", "TASKS_TOKEN": token.strip()}
    run_programs("docs/guides/client.md", served | service)


@pytest.mark.service
def test_the_litestar_command_works(served: dict[str, str]) -> None:
    compare("bash", "docs/guides/mount.md", served, {})


@pytest.mark.slow
def test_the_tests_of_a_consumer_succeed(tmp_path: Path) -> None:
    for number, module in enumerate(blocks("docs/guides/testing.md", "python")):
        (tmp_path / f"test_{number}.py").write_text(module)
    options = "-q -p no:schemathesis -p no:faker -o asyncio_mode=auto"
    command = [sys.executable, "-m", "pytest", *options.split()]
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "HEXTASKS_TESTS"))}
    ran = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"^\d\d passed", ran.stdout, re.MULTILINE)


@pytest.mark.parametrize("document", UNITS)
def test_units_and_environments_are_valid(document: str, tmp_path: Path) -> None:
    for block in blocks(document, "ini"):
        if block.startswith("["):
            unit = configparser.ConfigParser(strict=True)
            unit.read_string(block)
            assert "pgbouncer" in unit
        else:
            (tmp_path / "env").write_text(block)
            assert Settings.load({}, tmp_path / "env").in_production


@pytest.mark.slow
@pytest.mark.parametrize("name", re.findall(r"^::: ([\w.]+)$", DOCUMENTS["docs/reference/library.md"], re.MULTILINE))
def test_every_public_name_is_documented(name: str) -> None:
    module = import_module(name)
    assert module.__doc__
    for each in getattr(module, "__all__", vars(module)):
        thing = getattr(module, each)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        members = vars(thing) if inspect.isclass(thing) else {}
        methods = [getattr(thing, name) for name in members if not name.startswith(("_", "test_"))]
        assert not [each for each in (thing, *methods) if callable(each) and not inspect.getdoc(each)]


def test_the_readme_is_short() -> None:
    assert len(DOCUMENTS["README.md"].splitlines()) <= 120


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_into_the_repository_and_commands_of_make_exist(document: str) -> None:
    text = DOCUMENTS[document]
    links = {target.partition("#")[0] for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text)}
    missing = [link for link in links if not ((ROOT / document).parent / link).exists()]
    assert not missing
    commands = set(re.findall(r"`make ([a-z-]+)", text))
    assert commands <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_tables_name_every_setting_and_every_command() -> None:
    def named(document: str) -> list[str]:
        cells = re.findall(r"^\| (`.*?) \|", DOCUMENTS[document], re.MULTILINE)
        return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]

    assert sorted(named("docs/reference/settings.md")) == sorted(Settings.names())
    assert [name.split()[1] for name in named("docs/reference/commands.md")] == list(COMMANDS)


def test_env_example_names_every_setting_with_its_default_and_loads(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    given = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert sorted(given) == sorted(Settings.names())
    everything = tmp_path / "everything"
    assert len(given.pop("JWT_SECRET")) < SECRET_MIN_BYTES, "a published secret must not be usable"
    everything.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    examples = {"DATABASE_URL", "DATABASE_SCHEMA", "JWT_JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE"}
    examples |= {"CORS_ORIGINS", "ADMIN_PORT"}
    loaded, default = Settings.load({}, everything), Settings()
    for field, name in zip(Settings.__struct_fields__, Settings.names(), strict=True):
        assert (getattr(loaded, field) == getattr(default, field)) == (name not in examples), name
    assert Settings.load({}, ROOT / ".env.example") == default
