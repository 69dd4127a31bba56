"""The rule of the repository that no other tool checks."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("domain", "application", "adapters", "entrypoints", "hextasks", "alembic", "docs/examples", "tests")
MOST_LINES = 250


def test_no_python_file_is_longer_than_250_lines() -> None:
    files = [*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
    sizes = {str(path.relative_to(ROOT)): len(path.read_bytes().splitlines()) for path in files}
    assert len(sizes) > 400
    assert {name: size for name, size in sizes.items() if size > MOST_LINES} == {}
