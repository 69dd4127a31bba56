"""What a release consists of: the wheel's content and metadata, and the sdist that makes the same wheel."""

import subprocess
import sys
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

from hatch_build import LAYERS, relocated
from tests.packaging.installed import ROOT, distributions, succeeded, version_of

pytestmark = pytest.mark.slow

PAGE = {".css", ".html", ".js", ".svg"}


@pytest.fixture(scope="module")
def wheel() -> ZipFile:
    return ZipFile(distributions()[1])


def names(wheel: ZipFile, *, metadata: bool = False) -> set[str]:
    return {name for name in wheel.namelist() if (".dist-info/" in name) == metadata}


def files(*places: str) -> set[str]:
    """Return the repository's files, those included that are not committed yet."""
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *places)
    found = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return {name for name in found if (ROOT / name).is_file()}


def test_the_wheel_installs_one_package_which_has_every_file_of_the_layers(wheel: ZipFile) -> None:
    migrations = {name.replace("alembic/", "hextasks/adapters/postgres/alembic/", 1) for name in files("alembic")}
    assert names(wheel) == files("hextasks") | {f"hextasks/{name}" for name in files(*LAYERS)} | migrations
    assert {"hextasks/py.typed", "hextasks/adapters/postgres/alembic/env.py"} < names(wheel)
    assert any(Path(name).suffix in PAGE for name in names(wheel))
    assert {Path(name).suffix for name in names(wheel) if not name.endswith("/py.typed")} == {".py", ".mako", *PAGE}


def test_nothing_in_the_wheel_refers_to_a_top_level_layer(wheel: ZipFile) -> None:
    for name in filter(lambda name: name.endswith(".py"), names(wheel)):
        source = wheel.read(name).decode()
        assert relocated(source, name) == source, name


def test_the_sdist_has_the_sources_alone_and_makes_the_same_wheel(tmp_path: Path) -> None:
    sdist, wheel = distributions()
    listed = succeeded("tar", "--list", "--gzip", "--file", sdist).splitlines()
    assert {name.split("/")[1] for name in listed} == {
        *LAYERS,
        *("hextasks", "alembic", "hatch_build.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"),
        *("PKG-INFO", ".gitignore"),
    }
    succeeded(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_metadata_asks_for_nothing_but_python_unless_an_extra_is_named(wheel: ZipFile) -> None:
    [name] = (name for name in names(wheel, metadata=True) if name.endswith("/METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    requirements = metadata.get_all("Requires-Dist", [])
    assert requirements
    assert all("extra ==" in requirement for requirement in requirements)
    assert metadata["Version"] == version_of(distributions()[1])
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-File"] == "LICENSE"
    assert "hextasks = hextasks.__main__:main" in wheel.read(name.replace("METADATA", "entry_points.txt")).decode()
