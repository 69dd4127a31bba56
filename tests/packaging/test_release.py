"""What a release states agrees: version, changelog, tag, bill of materials, and what the image is built from."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from hatch_build import PLACES
from tests.packaging.installed import PROJECT, ROOT, succeeded, uv
from tests.packaging.release import disagreements, tags, write_sbom

OLDER = "\n\n## 0.9.0, 2026-01-31\n"


def test_the_changelog_agrees_with_the_tag() -> None:
    newest, changelog = tags(), (ROOT / "CHANGELOG.md").read_text()
    assert disagreements(newest[0][1:] if newest else "0.0.0", changelog, newest) == []


@pytest.mark.parametrize(
    ("version", "entry", "tags", "found"),
    [
        ("1.0.0.dev3+g0123456", "1.0.0, unreleased", [], []),
        ("1.0.0.dev3+g0123456", "1.0.0, 2026-02-28", [], []),
        ("1.0.0", "1.0.0, 2026-02-28", ["v1.0.0"], []),
        ("1.0.0", "1.0.0, unreleased", ["v1.0.0"], ["tag v1.0.0, but '## 1.0.0, unreleased'"]),
        ("1.0.0", "1x0.0, 2026-02-28", ["v1.0.0"], ["tag v1.0.0, but '## 1x0.0, 2026-02-28'"]),
        ("1.0.1.dev1", "1.0.0, 2026-02-28", ["v1.0.0"], ["tag v1.0.0, but version 1.0.1.dev1"]),
    ],
)
def test_a_disagreement_is_found(version: str, entry: str, tags: list[str], found: list[str]) -> None:
    assert disagreements(version, f"# Changelog\n\n## {entry}{OLDER}", tags) == found


@pytest.mark.slow
def test_a_tag_is_the_version(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        succeeded("git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments)

    def built() -> str:
        return succeeded(sys.executable, "-m", "hatchling", "version", cwd=tmp_path).strip()

    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "A release")
    git("tag", "v1.2.3")
    assert built() == "1.2.3"
    git("commit", "--quiet", "--allow-empty", "--message", "The next change")
    assert built().startswith("1.2.4.dev1+g")


@pytest.mark.slow
def test_the_bill_of_materials_names_what_the_extras_bring_and_no_tool(tmp_path: Path) -> None:
    if "cyclonedx" not in uv("export", "--help"):
        pytest.skip("uv is older than 0.9.11")
    bill = json.loads(write_sbom(tmp_path / "sbom.json").read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "hextasks")
    named = {each["name"]: each["purl"] for each in bill["components"]}
    requirements = [each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra]
    assert {re.split(r"[\[<>=; ]", requirement)[0] for requirement in requirements} < named.keys()
    assert named["litestar"].startswith("pkg:pypi/litestar@2.")
    assert named.keys().isdisjoint(("ruff", "twine", "hatchling"))


def test_the_image_is_built_from_all_that_the_wheel_consists_of() -> None:
    copied = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    assert copied == {*PLACES, "hatch_build.py", "pyproject.toml", "uv.lock", "README.md", "LICENSE"}
