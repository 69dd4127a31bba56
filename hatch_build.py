"""Builds the wheel, which installs one package: the four layers move into `hextasks`, and their imports with them.

In the repository the layers are top-level packages with short names. In somebody's environment those would collide with
packages of their own, so the wheel has `hextasks.domain` for `domain`, and so on. What is not provably an import of a
layer fails the build: `import domain.task`, which binds the name `domain`, and a string such as "domain.task:Task".
"""

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "hextasks"
LAYERS = ("domain", "application", "adapters", "entrypoints")
PLACES = {
    PACKAGE: "",
    **{layer: layer for layer in LAYERS},
    "alembic": "adapters/postgres/alembic",
}
"""The folders of the repository, and where the package has their content."""
_LAYER = re.compile(rf"(?:{'|'.join(LAYERS)})\b")
_PATH_IN_A_STRING = re.compile(rf"(?:{'|'.join(LAYERS)})(?:[.:]\w*)+")


class RelocationError(Exception):
    """A reference to a layer that the build cannot move. The text says where, and what to write instead."""


class Relocation(BuildHookInterface[BuilderConfig]):
    """Hatchling's hook: adds the moved files to a wheel. An editable install uses the repository as it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the package into a temporary folder, and include that."""
        if self.target_name == "wheel" and version == "standard":
            self._folder = TemporaryDirectory(prefix="hextasks-wheel-")
            write_package(Path(self.root), Path(self._folder.name))
            build_data["force_include"][self._folder.name] = PACKAGE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the folder."""
        if folder := getattr(self, "_folder", None):
            folder.cleanup()


def package_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Return the files of the repository that the package has, each with its path there.

    Hidden files are left out: what is hidden may be secret, such as a `.env`.
    """
    for place, moved in PLACES.items():
        for path in sorted((root / place).rglob("*")):
            within = path.relative_to(root / place)
            is_left_out = any(part.startswith(".") or part == "__pycache__" for part in within.parts)
            if path.is_file() and not is_left_out and path.suffix != ".pyc":
                yield path, (Path(moved) / within).as_posix()


def write_package(root: Path, target: Path) -> None:
    """Write the package's content, made of the repository's folders. Raises RelocationError."""
    for path, moved in package_files(root):
        written = target / moved
        written.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".py":
            written.write_text(relocated(path.read_text("utf-8"), str(path.relative_to(root))), "utf-8")
        else:
            shutil.copyfile(path, written)


def relocated(source: str, name: str) -> str:
    """Return Python source whose imports of layers are those of the package. Raises RelocationError."""
    tree = ast.parse(source, name)
    lines = source.split("\n")  # splitlines() would also split at characters that end no line of Python
    for line, column in sorted(_places(tree, name), reverse=True):
        encoded = lines[line - 1].encode()  # columns count bytes
        before, after = encoded[:column].decode(), encoded[column:].decode()
        if not _LAYER.match(after):
            raise RelocationError(f"{name}:{line}: an import that is not formatted as usual")
        lines[line - 1] = f"{before}{PACKAGE}.{after}"
    return "\n".join(lines)


def _places(tree: ast.Module, name: str) -> Iterator[tuple[int, int]]:
    """Return the lines and columns of the names of layers in imports."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom) and not node.level and _is_layer(node.module):
            yield node.lineno, node.col_offset + len("from ")
        elif isinstance(node, ast.Import):
            for alias in filter(lambda alias: _is_layer(alias.name), node.names):
                if alias.asname is None:
                    raise RelocationError(f"{where}: import {alias.name} binds the name of a layer; use from … import")
                yield alias.lineno, alias.col_offset
        elif isinstance(node, ast.Constant) and id(node) not in documentation and _is_path(node.value):
            raise RelocationError(f"{where}: {node.value!r} names a layer; make it from the object's __module__")
        elif isinstance(node, ast.Call) and _imports_by_name(node):
            raise RelocationError(f"{where}: the build cannot tell what this imports; use an import statement")


def _is_layer(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] in LAYERS


def _is_path(value: object) -> bool:
    return isinstance(value, str) and _PATH_IN_A_STRING.fullmatch(value) is not None


def _imports_by_name(call: ast.Call) -> bool:
    """Return whether a module is imported by a name that does not begin with that of the importing module."""
    function = ast.unparse(call.func).rpartition(".")[2]
    names = [ast.unparse(name) for name in call.args[:1]]
    return function in ("import_module", "__import__") and not any(name.startswith("f'{__name__}.") for name in names)
