"""`make release-check`: builds into dist/ what a release publishes, and checks it. Exits with 1 and the reasons."""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

from tests.packaging.installed import PROJECT, ROOT, succeeded, uv

DIST = ROOT / "dist"
TWINE = ROOT / ".tools" / "release" / "bin" / "twine"
VERSION: str = PROJECT["project"]["version"]


def main() -> int:
    """Build, check and list the files; then compare version, changelog and tags."""
    shutil.rmtree(DIST, ignore_errors=True)
    uv("build", "--out-dir", DIST)
    files = sorted(DIST.glob("hextasks-*"))
    print(succeeded(TWINE, "--no-color", "check", "--strict", *files), end="")
    for file in files:
        print(f"\n{file.relative_to(ROOT)}, {file.stat().st_size / 1024:.0f} KiB", *listed(file), sep="\n  ")
    print(f"\n{write_sbom(DIST / f'hextasks-{VERSION}.cdx.json').relative_to(ROOT)}")
    found = disagreements(VERSION, (ROOT / "CHANGELOG.md").read_text(), tags())
    print(*found or [f"\n{VERSION}: version, changelog and tag agree"], sep="\n")
    return int(bool(found))


def listed(file: Path) -> list[str]:
    """Return the names in a wheel or an sdist."""
    return sorted(ZipFile(file).namelist() if file.suffix == ".whl" else tarfile.open(file).getnames())


def write_sbom(file: Path) -> Path:
    """Write the bill of materials: the locked packages that the extras bring, with their hashes, as CycloneDX."""
    what = ("--frozen", "--no-default-groups", "--all-extras", "--no-emit-project")
    form = ("--preview-features", "sbom-export", "--format", "cyclonedx1.5")
    uv("export", "--quiet", *form, *what, "--output-file", file)
    return file


def tags() -> list[str]:
    """Return the tags of versions at the commit that is checked out."""
    pointing = ("git", "tag", "--points-at", "HEAD", "v*")
    return subprocess.run(pointing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()


def disagreements(version: str, changelog: str, tags: list[str]) -> list[str]:
    """Return where the newest entry of the changelog or a tag names another version; normally nowhere.

    A version that is not released yet ends in `.dev0`, and its entry says `unreleased` where others have their date.
    """
    released = version.removesuffix(".dev0")
    when = r"\d{4}-\d\d-\d\d" if version == released else "unreleased"
    newest = re.findall(r"^## .*$", changelog, re.MULTILINE)[0]
    wrong = [] if re.fullmatch(rf"## {re.escape(released)}, {when}", newest) else [f"version {version}, but {newest!r}"]
    return wrong + [f"version {version}, but tag {tag}" for tag in tags if tag != f"v{version}"]


if __name__ == "__main__":
    sys.exit(main())
