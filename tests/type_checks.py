"""mypy for other code than this project's own."""

import shutil
import sys
from pathlib import Path

from tests.packaging.installed import PROJECT, ROOT

CACHES = ROOT / ".mypy_cache"


def mypy(name: str, *arguments: str | Path) -> list[str | Path]:
    """Return a command of mypy with the settings of this project, and with a cache of its own.

    The cache begins as the one that `make check` has left, if it has: to analyze the libraries takes five seconds.
    """
    version = PROJECT["tool"]["mypy"]["python_version"]
    cache, of_the_project = CACHES / name, CACHES / version
    if of_the_project.exists() and not cache.exists():
        shutil.copytree(of_the_project, cache / version)
    return [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir", cache, *arguments]
