"""`hextasks backup | restore`, with the service as its users run it."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.processes import Served, command, said, serving
from tests.embedded_servers import end_servers, with_cluster

pytestmark = pytest.mark.database


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with_cluster(tmp_path / ".data" / "postgres", is_migrated=True)
    yield tmp_path
    end_servers(tmp_path)


def changes(served: Served, since: str) -> httpx.Response:
    url = f"{served.address}/api/ada/tasks/changes"
    return httpx.get(url, params={"since": since}, headers=served.headers, verify=False)


def test_a_backup_of_a_running_service_is_restored(home: Path) -> None:
    file = home / "backup"
    with serving(home) as served:
        assert [served.add(title).status_code for title in ("Käse", "Milk")] == [201, 201]
        at_backup = served.sync_token()
        written = command("backup", "backup", cwd=home)
        assert (written.returncode, written.stdout) == (0, f"wrote backup, {file.stat().st_size:,} bytes\n")
        assert file.stat().st_mode & 0o777 == 0o600
        assert served.add("After the backup").status_code == 201
        at_end = served.sync_token()
        refused = command("restore", "backup", "--replace", cwd=home)
        assert (refused.returncode, "is in use by" in said(refused)) == (1, True)
        assert served.titles() == ["After the backup", "Milk", "Käse"]

    refused = command("restore", "backup", cwd=home)
    assert (refused.returncode, "--replace" in said(refused)) == (1, True)
    restored = command("restore", "backup", "--replace", cwd=home)
    assert (restored.returncode, restored.stdout, restored.stderr) == (
        *(0, "restored backup; all sync tokens have expired\n", ""),
    )
    with serving(home) as served:
        assert served.titles() == ["Milk", "Käse"]
        assert [changes(served, token).status_code for token in (at_backup, at_end)] == [410, 410]
        assert served.add("Now").json()["version"] > 2**32
    assert sorted(path.name for path in home.iterdir()) == [".data", "backup"]


@pytest.mark.parametrize("name", ["backup", "restore"])
def test_what_cannot_be_done_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    refused = command(name, "file", cwd=tmp_path, DATABASE_URL="postgresql://ada@127.0.0.1:1/x")
    assert (refused.returncode, "pg_dump" in said(refused)) == (1, True)
    refused = command(name, "nowhere/file", cwd=tmp_path)
    assert (refused.returncode, bool(re.search("no database|cannot read", said(refused)))) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
