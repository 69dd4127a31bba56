"""The OpenAPI document as other people's tools see it: linters, and generated clients that call the service.

`make clients` installs the tools, which need npm, and runs these tests; `make test` does so where npm is installed.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.wire import raw
from tests.services import Service, running_service
from tests.type_checks import mypy

HERE = Path(__file__).parent / "clients"
TOOLS = Path(__file__).parents[2] / ".clients"
NODE_TOOLS = TOOLS / "node_modules" / ".bin"
OFFLINE = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}

pytestmark = pytest.mark.skipif(not (TOOLS / ".ready").exists(), reason="`make clients` has not installed the tools")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service(DATABASE_URL="memory://") as service:
        yield service


@pytest.fixture
def folder(service: Service, tmp_path: Path) -> Path:
    """A folder with the document, the configuration of the tools, and programs that use the generated clients."""
    (tmp_path / "openapi.json").write_bytes(raw(service, "GET", "/openapi.json").content)
    (tmp_path / "node_modules").symlink_to(TOOLS / "node_modules")
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    return tmp_path


def run(folder: Path, *command: str | Path) -> str:
    """Run a command in a folder, and return what it prints."""
    ran = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | OFFLINE,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def check_program(service: Service, folder: Path, *command: str | Path) -> None:
    """Run a program with the service, a user and a token, and check what it has made of the responses."""
    with service.client() as client:
        token = client.headers["Authorization"].removeprefix("Bearer ")
        result: Any = json.loads(run(folder, *command, service.url, client.user, token))
    assert result == {
        "created": "Buy milk",
        "listed": [True],
        "changed": ["Buy milk"],
        "explained": ["Enter a title.", "Shorten the title.", "Remove it from the list."],
    }


def test_redocly_finds_nothing(folder: Path) -> None:
    found = json.loads(run(folder, NODE_TOOLS / "redocly", "lint", "--format=json", "openapi.json"))
    assert found["problems"] == []


def test_spectral_finds_nothing(folder: Path) -> None:
    run(folder, NODE_TOOLS / "spectral", "lint", "--ruleset=spectral.yaml", "--fail-severity=hint", "openapi.json")


def test_a_generated_typescript_client_compiles_and_works(service: Service, folder: Path) -> None:
    run(folder, NODE_TOOLS / "openapi-typescript", "openapi.json", "--output=schema.ts")
    run(folder, NODE_TOOLS / "tsc")
    check_program(service, folder, "node", "main.js")


def test_a_generated_python_client_compiles_and_works(service: Service, folder: Path) -> None:
    generator = TOOLS / "python" / "bin" / "openapi-python-client"
    options = ["--meta=none", "--output-path=tasks_client", "--config=openapi-python-client.yaml", "--fail-on-warning"]
    run(folder, generator, "generate", "--path=openapi.json", *options)
    run(folder, *mypy("client", "tasks_client", "main.py"))
    check_program(service, folder, sys.executable, "main.py")
