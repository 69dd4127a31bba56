"""The link in the temporary folder, by which clients reach an embedded PostgreSQL whose path is too long."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from adapters.embedded_postgres import EmbeddedPostgres
from tests.embedded_servers import end_servers, eventually, is_alive, kill_server, query, query_once_back, with_cluster

pytestmark = pytest.mark.database

ROOT = Path(__file__).parents[2]
RUN_UNTIL_KILLED = """
import sys
from pathlib import Path
from adapters.embedded_postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])).running():
    print("running", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield with_cluster(tmp_path / ("x" * 90))
    end_servers(tmp_path)


@pytest.fixture
def temporary(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder that all users share, as /tmp is."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o1777)
        monkeypatch.setattr(tempfile, "tempdir", name)
        monkeypatch.setenv("TMPDIR", name)
        yield folder


def test_no_link_is_left_behind(temporary: Path, folder: Path) -> None:
    with EmbeddedPostgres(folder).running() as url, EmbeddedPostgres(folder).running() as same:
        assert url == same
        assert query(url, "SELECT 42") == 42
        (link,) = temporary.iterdir()
        assert link.readlink() == folder / "data"
    assert list(temporary.iterdir()) == []


def test_the_link_is_used_until_the_last_process_leaves(temporary: Path, folder: Path) -> None:
    with EmbeddedPostgres(folder).running() as url:
        with EmbeddedPostgres(folder).running():
            pass
        assert query(url, "SELECT 42") == 42


def test_a_removed_link_is_created_again(temporary: Path, folder: Path) -> None:
    with EmbeddedPostgres(folder).running() as url:
        for _ in range(2):
            (link,) = temporary.iterdir()
            link.unlink()
            assert query_once_back(url, "SELECT 42") == 42
        link.unlink()
        kill_server(folder)
        assert query_once_back(url, "SELECT 42") == 42
    assert list(temporary.iterdir()) == []


def test_a_link_is_kept_from_looking_old(temporary: Path, folder: Path) -> None:
    with EmbeddedPostgres(folder).running():
        (link,) = temporary.iterdir()
        long_ago = time.time() - 10 * 24 * 3600
        os.utime(link, (long_ago, long_ago), follow_symlinks=False)
        eventually(lambda: link.lstat().st_mtime > time.time() - 3600)


def killed(folder: Path) -> None:
    """Run a process that uses the folder, and kill it; its server keeps running."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN_UNTIL_KILLED, folder], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"running\n"
        process.send_signal(signal.SIGKILL)


def test_the_link_of_a_killed_process_is_used_again_and_removed(temporary: Path, folder: Path) -> None:
    killed(folder)
    (left,) = temporary.iterdir()
    with EmbeddedPostgres(folder).running() as url:
        assert query(url, "SELECT 42") == 42
        assert list(temporary.iterdir()) == [left]
    assert list(temporary.iterdir()) == []
    assert not is_alive(folder)


def test_the_link_of_a_killed_process_to_data_that_was_deleted_is_removed(temporary: Path, folder: Path) -> None:
    killed(folder)
    end_servers(folder)
    eventually(lambda: not is_alive(folder))
    another = folder.rename(folder.with_name("y" * 90))
    with EmbeddedPostgres(another).running() as url:
        assert query(url, "SELECT 42") == 42
        (link,) = temporary.iterdir()
        assert link.readlink() == another / "data"
    assert list(temporary.iterdir()) == []


def test_links_of_a_copied_folder_lead_to_the_copy(temporary: Path, folder: Path) -> None:
    copy = folder.with_name("y" * 90)
    subprocess.run(["cp", "-Rp", folder, copy], check=True)
    with EmbeddedPostgres(folder).running() as url, EmbeddedPostgres(copy).running() as url_of_the_copy:
        query(url, "CREATE TABLE only_here ()")
        assert query(url_of_the_copy, "SELECT to_regclass('only_here')") is None
        assert len(list(temporary.iterdir())) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")
def test_a_link_of_another_user_is_neither_used_nor_removed(temporary: Path, folder: Path) -> None:
    planted = temporary / "hextasks-planted"
    planted.symlink_to(folder / "data")
    os.lchown(planted, 65534, -1)
    with EmbeddedPostgres(folder).running() as url:
        assert query(url, "SELECT 42") == 42
        assert str(planted) not in unquote(url)
    assert list(temporary.iterdir()) == [planted]


def test_a_link_that_was_replaced_is_reported(temporary: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedPostgres(folder).running():
        (link,) = temporary.iterdir()
        (temporary / "other").symlink_to("/somewhere/else")
        (temporary / "other").replace(link)
        eventually(lambda: any(f"{link}, the link to" in line for line in caplog.messages))
        assert link.readlink() == Path("/somewhere/else")


def test_a_temporary_folder_with_a_long_path_is_not_used(
    temporary: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / ("t" * 90)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / ("t" * 90)))
    with EmbeddedPostgres(folder).running() as url:
        assert query(url, "SELECT 42") == 42
