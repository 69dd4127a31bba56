"""The documents are executed: the README line by line, and every setting of `.env.example`."""

import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.tokens.keys import SECRET_MIN_BYTES
from entrypoints.cli import COMMANDS
from entrypoints.settings import Settings
from tests.wires import free_port

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MASKS = {
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "<id>",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z": "<time>",
    r"\b(?!0{12})[0-9a-f]{12}-(?=\d)": "<epoch>-",
}


def section(title: str) -> str:
    return README.partition(f"## {title}\n")[2].partition("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(title), re.DOTALL)


def masked(text: str) -> str:
    for pattern, mask in MASKS.items():
        text = re.sub(pattern, mask, text)
    return text


@pytest.fixture
def served(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The first command of the quick start, running; yields the environment it runs in."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment = {**outside, "DATA_DIR": str(tmp_path), "PORT": str(free_port())}
    first = blocks("Quick start", "console")[0]
    assert first.startswith("$ ")
    with subprocess.Popen(
        first.removeprefix("$ ").split(), cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as make:
        assert make.stdout is not None
        assert select.select([make.stdout], [], [], 60)[0], "it says nothing"
        assert f"http://127.0.0.1:{environment['PORT']}" in make.stdout.readline()
        yield environment
        subprocess.run(["pkill", "-TERM", "-P", str(make.pid)], check=False)
        make.terminate()


@pytest.mark.database
@pytest.mark.parametrize(("title", "count"), [("A tour in six calls", 11), ("A copy that stays equal", 14)])
def test_calls_answer_as_the_readme_shows(served: dict[str, str], title: str, count: int) -> None:
    (calls,) = blocks(title, "console")
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", calls, re.MULTILINE)
    assert len(steps) == count
    script = "".join(f"{command}\necho ---\n" for command, _ in steps).replace("8000", served["PORT"])
    ran = subprocess.run(
        ["bash", "-eu", "-c", script], cwd=ROOT, env=served, capture_output=True, text=True, check=True
    )
    answers = ran.stdout.split("---\n")
    for (command, shown), answer in zip(steps, answers, strict=False):
        assert masked(answer) == masked(shown), command


def test_the_second_command_of_the_quick_start_runs_every_test() -> None:
    _, second = blocks("Quick start", "console")
    dry = subprocess.run(
        [*second.removeprefix("$ ").split(), "--dry-run"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"-m pytest -n 3 --dist worksteal\s*$", dry.stdout, re.MULTILINE), "with nothing deselected"
    assert second.strip().removeprefix("$ ") in (ROOT / ".ci/run").read_text().splitlines()


def test_the_library_in_twelve_lines() -> None:
    program = blocks("The library in twelve lines", "python")[0]
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("Task(")
    assert "title='Buy milk'" in ran.stdout
    assert "version=2" in ran.stdout


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_links_into_the_repository_and_commands_of_make_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    links = {target.partition("#")[0] for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text)}
    assert links
    assert all((ROOT / link).exists() for link in links), links
    commands = set(re.findall(r"`make ([a-z-]+)", text))
    assert commands <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_tables_name_every_setting_and_every_command() -> None:
    cells = re.findall(r"^\| (`.*?) \|", section("Settings"), re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    assert sorted(name for name in named if name.isupper()) == sorted(Settings.names())
    assert [name.split()[1] for name in named if name.startswith("hextasks ")] == list(COMMANDS)


def test_env_example_names_every_setting_with_its_default_and_loads(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    given = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert sorted(given) == sorted(Settings.names())
    everything = tmp_path / "everything"
    assert len(given.pop("JWT_SECRET")) < SECRET_MIN_BYTES, "a published secret must not be usable"
    everything.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    examples = {"DATABASE_URL", "JWT_JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE", "CORS_ORIGINS", "ADMIN_PORT"}
    loaded, default = Settings.load({}, everything), Settings()
    for field, name in zip(Settings.__struct_fields__, Settings.names(), strict=True):
        assert (getattr(loaded, field) == getattr(default, field)) == (name not in examples), name
    assert Settings.load({}, ROOT / ".env.example") == default
