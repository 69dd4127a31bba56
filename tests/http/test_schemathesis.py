"""Schemathesis against the OpenAPI document: every operation, check and phase, with valid and invalid data.

TEST_SCHEMATHESIS_ARGS has further arguments, for another run or a longer one: --seed=7 --max-examples=500.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.tokens import issue_token
from tests.databases import STORAGES
from tests.services import SECRET, Service

HERE = Path(__file__).parent
TABLES = HERE.parents[1] / ".hypothesis" / "unicode_data"
"""The tables of characters that Hypothesis has made for these tests, which takes it a second."""


# On PostgreSQL alone, to which odd input is a matter, too; that memory behaves alike is what the contract suite proves.
@pytest.mark.parametrize("service", STORAGES[-1:], indirect=True)
def test_the_service_conforms_to_its_document(service: Service, tmp_path: Path) -> None:
    users = [
        {"name": user, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {issue_token(SECRET, user)}"}]}
        for user in ("owner", "stranger")
    ]
    (tmp_path / "tokens.json").write_text(json.dumps({"auth": users}))
    TABLES.mkdir(parents=True, exist_ok=True)
    (tmp_path / ".hypothesis").mkdir()
    (tmp_path / ".hypothesis" / "unicode_data").symlink_to(TABLES)
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        f"{service.url}/openapi.json",
        *["--checks=all", "--mode=all", "--max-examples=10", "--seed=1"],
        "--exclude-operation-id=followTasks",  # which has no end
        *os.environ.get("TEST_SCHEMATHESIS_ARGS", "").split(),
    ]
    ran = subprocess.run(
        command,
        cwd=tmp_path,  # where it writes its files
        env={"SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
