"""`make release-check`: builds into dist/ what a release publishes, and checks it. Exits with 1 and the reasons."""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

from tests.packaging.installed import ROOT, succeeded, uv, version_of

DIST = ROOT / "dist"
TWINE = ROOT / ".tools" / "release" / "bin" / "twine"


def main() -> int:
    """Build, check and list the files; then compare the tags with the version that was built and with the changelog."""
    shutil.rmtree(DIST, ignore_errors=True)
    uv("build", "--out-dir", DIST)
    files = sorted(DIST.glob("hextasks-*"))
    version = version_of(files[0])
    print(succeeded(TWINE, "--no-color", "check", "--strict", *files), end="")
    for file in files:
        print(f"\n{file.relative_to(ROOT)}, {file.stat().st_size / 1024:.0f} KiB", *listed(file), sep="\n  ")
    print(f"\n{write_sbom(DIST / f'hextasks-{version}.cdx.json').relative_to(ROOT)}")
    found = disagreements(version, (ROOT / "CHANGELOG.md").read_text(), tags())
    print(*found or [f"\n{version}: {'tag and changelog agree' if tags() else 'a build without a tag'}"], sep="\n")
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
    """Return where a tag and the version made of it, or the date in the changelog's newest entry, do not agree."""
    newest = re.findall(r"^## .*$", changelog, re.MULTILINE)[0]
    wrong = [f"tag {tag}, but version {version}" for tag in tags if tag != f"v{version}"]
    dated = [tag for tag in tags if not re.fullmatch(rf"## {re.escape(tag[1:])}, \d{{4}}-\d\d-\d\d", newest)]
    return wrong + [f"tag {tag}, but {newest!r}" for tag in dated]


if __name__ == "__main__":
    sys.exit(main())
