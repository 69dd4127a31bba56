"""The embedded PostgreSQL: durable, in any folder, shared, and able to start after kills and power cuts."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from adapters.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from tests.embedded_servers import end_servers, is_running, kill_server, needs_proc, query, server_pid, with_cluster
from tests.patience import SERVER_DEADLINE_SECONDS

pytestmark = pytest.mark.database

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
SERVER_USER: dict[str, Any] = {"user": "nobody", "extra_groups": []} if IS_ROOT else {}
not_on_macos = pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "pg"
    end_servers(tmp_path)


@pytest.fixture
def cluster(folder: Path) -> Path:
    """A folder with a new cluster, for tests of anything but its creation."""
    return with_cluster(folder)


def test_committed_writes_survive_a_restart(cluster: Path) -> None:
    with EmbeddedPostgres(cluster).running() as url:
        query(url, "CREATE TABLE kept AS SELECT 42 AS value")
        assert query(url, "SHOW server_version_num") >= "180000"
        assert query(url, "SHOW server_encoding") == "UTF8"
        assert [query(url, f"SHOW {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]
    assert not is_running(cluster)
    with EmbeddedPostgres(cluster).running() as url:
        assert query(url, "SELECT value FROM kept") == 42


@pytest.mark.parametrize(
    "name",
    [
        "/".join("任" * 85 for _ in range(4)),
        "two words/100% %20/häx-任务",
        "a,b",
        "quote\"d/it's/$HOME `id`",
        pytest.param(os.fsdecode(b"latin-1 \xe9"), marks=not_on_macos),
    ],
    ids=["the longest names", "spaces and signs", "a comma", "a shell's signs", "bytes"],
)
def test_any_folder_name_works(folder: Path, name: str) -> None:
    with EmbeddedPostgres(folder / name).running() as url:
        assert query(url, "SELECT 42") == 42
    assert EmbeddedPostgres(folder / name).log.stat().st_size > 0


def test_a_folder_name_that_the_system_rejects_is_named(folder: Path) -> None:
    with (
        pytest.raises(EmbeddedPostgresError, match=r"File name too long: .*xxx"),
        EmbeddedPostgres(folder / ("x" * 256)).running(),
    ):
        pass


@needs_proc
def test_nothing_listens_on_tcp(cluster: Path) -> None:
    with EmbeddedPostgres(cluster).running() as url:
        assert query(url, "SHOW listen_addresses") == ""
        sockets = {str(path.readlink()) for path in Path(f"/proc/{server_pid(cluster)}/fd").iterdir()}
        assert any(socket.startswith("socket:") for socket in sockets)
        for table in ("tcp", "tcp6", "udp", "udp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                assert f"socket:[{line.split()[9]}]" not in sockets


def test_the_server_runs_until_its_last_user_leaves(folder: Path) -> None:
    """Eight start at once in an empty folder; all get the same server, and the last one stops it."""

    def enter() -> tuple[str, ExitStack]:
        stack = ExitStack()
        return stack.enter_context(EmbeddedPostgres(folder).running()), stack

    with ThreadPoolExecutor(8) as pool:
        entered = list(pool.map(lambda _: enter(), range(8)))
    for number, (url, stack) in enumerate(entered):
        assert query(url, "SELECT 42") == 42, number
        stack.close()
    assert not is_running(folder)


def test_two_folders_are_two_servers(folder: Path) -> None:
    one, other = with_cluster(folder / "a"), with_cluster(folder / "b")
    with EmbeddedPostgres(one).running() as a, EmbeddedPostgres(other).running() as b:
        assert query(a, "CREATE TABLE only_a ()", "SELECT to_regclass('only_a')") is not None
        assert query(b, "SELECT to_regclass('only_a')") is None


def test_it_starts_after_its_server_was_killed(cluster: Path) -> None:
    with EmbeddedPostgres(cluster).running() as url:
        query(url, "CREATE TABLE kept AS SELECT 42 AS value")
        kill_server(cluster)
        with EmbeddedPostgres(cluster).running() as url_of_the_next:
            assert query(url_of_the_next, "SELECT value FROM kept") == 42


def test_a_process_with_the_id_of_the_old_server_is_not_taken_for_it(cluster: Path) -> None:
    """After a restart of the machine or the container, the id in the stale pid file may belong to any process."""
    pid_file = cluster / "data" / "postmaster.pid"
    with EmbeddedPostgres(cluster).running():
        left_over = pid_file.read_text().splitlines()[1:]
    with subprocess.Popen(["sleep", "60"], **SERVER_USER) as other:
        pid_file.write_text("\n".join([str(other.pid), *left_over, ""]))
        if IS_ROOT:
            shutil.chown(pid_file, "nobody")
        try:
            with EmbeddedPostgres(cluster).running() as url:
                try:
                    assert query(url, "SELECT 42") == 42
                    assert other.poll() is None
                finally:
                    other.kill()
                    other.wait()
        finally:
            other.kill()


@needs_proc
def test_an_interrupted_creation_is_repeated(folder: Path) -> None:
    """All processes are killed at once, as by a power cut, as soon as the cluster's first files exist."""
    script = f"""
from pathlib import Path
from adapters.embedded_postgres import EmbeddedPostgres
with EmbeddedPostgres(Path({str(folder)!r})).running(): ...
"""
    deadline = time.monotonic() + SERVER_DEADLINE_SECONDS
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as creator:
        while not any(folder.rglob("PG_VERSION")):
            assert time.monotonic() < deadline
        creator.kill()
    while working := _processes_in(folder):
        assert time.monotonic() < deadline
        for pid in working:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    with EmbeddedPostgres(folder).running() as url:
        assert query(url, "SELECT 42") == 42


def _processes_in(folder: Path) -> list[int]:
    found = []
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if folder in cwd.readlink().parents:
                found.append(int(cwd.parent.name))
    return found


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("postgresql.conf", "nonsense = 1\n", 'unrecognized configuration parameter "nonsense"'),
        ("PG_VERSION", "9.6\n", "database files are incompatible with server"),
    ],
)
def test_when_it_cannot_start_the_error_ends_with_its_log(cluster: Path, file: str, content: str, words: str) -> None:
    embedded = EmbeddedPostgres(cluster)
    path = cluster / "data" / file
    good = path.read_text()
    path.write_text(content)
    with pytest.raises(EmbeddedPostgresError) as failed, embedded.running():
        pass
    assert words in str(failed.value)
    assert str(embedded.log) in str(failed.value)
    assert len(str(failed.value).splitlines()) == 1
    path.write_text(good)
    with embedded.running() as url:
        assert query(url, "SELECT 42") == 42


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    below_a_file = tmp_path / "file" / "pg"
    with pytest.raises(EmbeddedPostgresError, match=str(tmp_path / "file")), EmbeddedPostgres(below_a_file).running():
        pass
