"""The build hook's one rule: it moves what is provably an import of a layer, and refuses every other reference."""

from pathlib import Path

import pytest

from hatch_build import RelocationError, package_files, relocated


@pytest.mark.parametrize(
    ("source", "moved"),
    [
        ("from domain import Task", "from hextasks.domain import Task"),
        ("from adapters.clock import SystemClock as C", "from hextasks.adapters.clock import SystemClock as C"),
        ("import entrypoints.cli as cli", "import hextasks.entrypoints.cli as cli"),
        ("import os, domain as d, domain.task as t", "import os, hextasks.domain as d, hextasks.domain.task as t"),
        ("x = 'ä€😀'; from domain import Task", "x = 'ä€😀'; from hextasks.domain import Task"),
        ("x = '\x0c\u2028'\nfrom domain import Task", "x = '\x0c\u2028'\nfrom hextasks.domain import Task"),
        (
            "from application import (\n    Tasks,\n    Write,\n)\n",
            "from hextasks.application import (\n    Tasks,\n    Write,\n)\n",
        ),
        ("def f():\n\tfrom domain import Task\n", "def f():\n\tfrom hextasks.domain import Task\n"),
        (
            "if TYPE_CHECKING:\n    from domain import Task\n",
            "if TYPE_CHECKING:\n    from hextasks.domain import Task\n",
        ),
    ],
)
def test_imports_of_layers_move(source: str, moved: str) -> None:
    assert relocated(source, "module.py") == moved


@pytest.mark.parametrize(
    "source",
    [
        '"""Of domain.task.\n\nfrom domain import Task\n"""\n',
        '"domain.task"\n',
        "from domains import Task",
        "import applications, adapters_of_others",
        "from alembic import context",
        "from hextasks import Task",
        "from .domain import Task",
        "from . import adapters",
        "import other.domain",
        "domain = application.adapters.entrypoints",
        'kind = "application/json"',
        "import_module(f'{__name__}.names')",
        'text = "The domain: a task"',
        "# from domain import Task",
    ],
)
def test_everything_else_stays(source: str) -> None:
    assert relocated(source, "module.py") == source


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import domain", "import domain binds the name of a layer"),
        ("import os, domain.task", "import domain.task binds the name of a layer"),
        ('patch("adapters.memory.user_tasks")', "names a layer"),
        ('factory = "entrypoints.http.app:create_app"', "names a layer"),
        ('f"adapters.{name}"', "names a layer"),
        ('f"entrypoints:{name}"', "names a layer"),
        ("import_module(name)", "cannot tell what this imports"),
        ("importlib.import_module('domain')", "cannot tell what this imports"),
        ("__import__('domain')", "cannot tell what this imports"),
        ("from  domain import Task", "not formatted as usual"),
        ("from \\\n  domain import Task", "not formatted as usual"),
    ],
)
def test_what_is_not_provably_an_import_is_refused(source: str, reason: str) -> None:
    with pytest.raises(RelocationError, match=reason) as refused:
        relocated(f"\n{source}", "layer/module.py")
    assert str(refused.value).startswith("layer/module.py:2: ")


def test_what_is_hidden_is_not_shipped(tmp_path: Path) -> None:
    for name in ("task.py", "py.typed", ".env", ".data/jwt_secret", "__pycache__/task.pyc"):
        (tmp_path / "domain" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "domain" / name).touch()
    assert {moved for _, moved in package_files(tmp_path)} == {"domain/task.py", "domain/py.typed"}
