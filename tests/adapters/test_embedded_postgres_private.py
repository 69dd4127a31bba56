"""The embedded PostgreSQL among other users: they have no access to its files, and cannot make it wait for ever."""

import fcntl
import getpass
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from adapters.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError, locks, server, shared
from adapters.embedded_postgres.server import server_identity
from tests.embedded_servers import end_servers, is_alive, query, starts, with_cluster
from tests.patience import SERVER_DEADLINE_SECONDS

pytestmark = [pytest.mark.database, pytest.mark.waits]

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs root, to act as another user")
needs_proc_locks = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs /proc/locks")
LOCKS = ["gate.lock", "users.lock", "server.lock"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "new" / "pg"
    end_servers(tmp_path)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=["umask 000", "umask 022", "umask 077"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(*paths: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in paths}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()]


def may(action: str, path: Path) -> bool:
    """Return whether the user `nobody`, as whom the server runs if root starts it, has access to a path."""
    return subprocess.run(["test", action, path], **server_identity()).returncode == 0


def test_only_the_owner_has_access(folder: Path, umask: None, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedPostgres(folder).running() as url:
        assert query(url, "SELECT 42") == 42
        socket = folder / "data" / ".s.PGSQL.5432"
        assert modes(folder.parent, folder, folder / "data", socket) == {0o700}
        assert {path.name for path in files(folder)} == {*LOCKS, "server.log"}
        assert modes(*files(folder)) == {0o600}
        below = [path for path in (folder / "data").rglob("*") if not path.is_socket()]
        assert modes(*below) <= {0o700, 0o600}
    assert modes(folder, *files(folder)) == {0o700, 0o600}
    assert not caplog.records


@needs_root
def test_a_process_of_the_servers_user_has_no_access_by_path() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to others
        above, folder = Path(name), Path(name) / "pg"
        above.chmod(0o755)
        with EmbeddedPostgres(with_cluster(folder)).running():
            assert may("-x", above)
            for path in (*folder.iterdir(), folder / "data" / ".s.PGSQL.5432"):
                assert not may("-e", path), path


def test_wider_access_to_an_existing_folder_is_removed_and_logged_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedPostgres(with_cluster(folder)).running() as url:
        query(url, "CREATE TABLE kept AS SELECT 42 AS value")
    wide = sorted([folder, *files(folder)])
    for path in wide:
        path.chmod(0o777 if path.is_dir() else 0o666)
    for _ in range(2):
        with EmbeddedPostgres(folder).running() as url:
            assert query(url, "SELECT value FROM kept") == 42
    assert modes(folder) == {0o700}
    assert modes(*files(folder)) == {0o600}
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"Other users' access was removed from: {', '.join(map(str, wide))}"


def test_links_in_an_existing_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    """While others could write to the folder, they may have put links in it."""
    with_cluster(folder).chmod(0o777)
    foreign = tmp_path / "foreign"
    foreign.touch(mode=0o644)
    (folder / "server.log").symlink_to(foreign)
    with pytest.raises(EmbeddedPostgresError, match=r"server\.log"), EmbeddedPostgres(folder).running():
        pass
    assert modes(foreign) == {0o644}
    assert foreign.read_text() == ""


@needs_root
def test_a_folder_of_another_user_is_rejected_unchanged(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    shutil.chown(folder, "nobody")
    with (
        pytest.raises(EmbeddedPostgresError, match=r"belongs to the user nobody.* runs as root"),
        EmbeddedPostgres(folder).running(),
    ):
        pass
    assert list(folder.iterdir()) == []
    assert modes(folder) == {0o755}


@contextmanager
def held(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[str]:
    """Hold a lock until the end of the block, in a process of another user who opened the file while that was allowed.

    Yields its description. Without root, it is a process of the same user.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with path.open() as file:
        take = partial(fcntl.flock, file, how | fcntl.LOCK_NB)
        holder = subprocess.Popen(["sleep", "600"], preexec_fn=take, pass_fds=[file.fileno()], **server_identity())
    try:
        yield f"process {holder.pid} ('sleep' of the user {'nobody' if IS_ROOT else getpass.getuser()})"
    finally:
        holder.kill()
        holder.wait()


@needs_proc_locks
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("gate.lock", fcntl.LOCK_EX),
        ("gate.lock", fcntl.LOCK_SH),
        ("users.lock", fcntl.LOCK_EX),
        ("server.lock", fcntl.LOCK_EX),
        ("server.lock", fcntl.LOCK_SH),
    ],
)
def test_a_start_waits_for_a_lock_for_a_bounded_time_and_names_the_holder(
    folder: Path, name: str, how: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_cluster(folder)
    monkeypatch.setattr(shared, "GATE_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(server, "START_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(server, "STOP_TIMEOUT_SECONDS", 0.5)
    for module in (locks, server):
        monkeypatch.setattr(module, "LOG_AFTER_SECONDS", 0.1)
    with held(folder / name, how) as holder:
        with pytest.raises(EmbeddedPostgresError) as failed, EmbeddedPostgres(folder).running():
            pass
        assert holder in str(failed.value)
        assert str(folder / name) in str(failed.value)
        (waiting,) = [record.getMessage() for record in caplog.records if "Waiting" in record.getMessage()]
        assert holder in waiting
    monkeypatch.undo()
    with EmbeddedPostgres(folder).running() as url:
        assert query(url, "SELECT 42") == 42
    assert not is_alive(folder)


@needs_proc_locks
def test_a_start_goes_on_when_the_lock_is_released(folder: Path) -> None:
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        with held(with_cluster(folder) / "gate.lock"):
            starting = pool.submit(lambda: stack.enter_context(EmbeddedPostgres(folder).running()))
            assert not wait([starting], timeout=0.5).done
        assert query(starting.result(SERVER_DEADLINE_SECONDS), "SELECT 42") == 42


@needs_proc_locks
def test_a_stop_waits_for_a_lock_for_a_bounded_time_and_the_next_one_stops_the_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared, "STOP_TIMEOUT_SECONDS", 0.5)
    with ExitStack() as holding:
        with EmbeddedPostgres(with_cluster(folder)).running():
            holder = holding.enter_context(held(folder / "gate.lock"))
        (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert holder in error
        assert is_alive(folder)
    monkeypatch.undo()
    with EmbeddedPostgres(folder).running() as url:
        assert query(url, "SELECT 42") == 42
    assert starts(folder) == 1
    assert not is_alive(folder)
