"""`hextasks migrate | token | doctor | openapi`, help and version."""

import json
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from unittest.mock import Mock

import asyncpg
import httpx
import pytest

from adapters.postgres.dsn import connect_arguments
from entrypoints.cli import COMMANDS, counted, main
from entrypoints.settings import Settings
from entrypoints.start import StartError, with_kept_secret, with_secret
from tests.cli.processes import command, forked, hextasks, said, serving
from tests.databases import Server

SECRET = "a secret that is thirty-two bytes"


@pytest.fixture
async def database_url(server: Server) -> str:
    """A database without tables."""
    return await server.new_database()


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entrypoints.cli.commands.run", Mock(side_effect=ModuleNotFoundError(name="litestar")))
    failed = command("openapi", cwd=tmp_path)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert said(failed).startswith("hextasks: litestar is not installed.")


class TestHelp:
    def test_it_names_every_command(self, tmp_path: Path) -> None:
        shown = hextasks("--help", cwd=tmp_path)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert all(re.search(rf"^ +{name} ", shown.stdout, re.MULTILINE) for name in COMMANDS)

    @pytest.mark.parametrize(
        "arguments",
        [(), ("sevre",), ("token",), ("serve", "8000"), ("--port", "1", "serve"), ("serve", "--reload", "--workers=2")],
    )
    def test_wrong_arguments_are_answered_with_the_usage(
        self, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
    ) -> None:
        with pytest.raises(SystemExit, match="2"):
            main([*arguments])
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("usage: hextasks")

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_explains_itself_with_examples(self, capsys: pytest.CaptureFixture[str], name: str) -> None:
        with pytest.raises(SystemExit, match="0"):
            main([name, "--help"])
        shown = capsys.readouterr().out
        assert shown.startswith(f"usage: hextasks {name}")
        assert re.search(rf"^examples:\n  .*hextasks {name}", shown, re.MULTILINE)

    def test_it_knows_its_version(self, tmp_path: Path) -> None:
        assert command("--version", cwd=tmp_path).stdout.strip() == version("hextasks")

    @pytest.mark.parametrize(("name", "stream"), [("export", "stdout"), ("import", "stdin")])
    def test_a_stream_that_is_closed_is_named(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, stream: str
    ) -> None:
        monkeypatch.setattr(sys, stream, None)
        with pytest.raises(SystemExit, match="1"):
            main([name, "ada"])
        assert capsys.readouterr().err == f"hextasks: there is no standard {stream.removeprefix('std')}put\n"

    def test_one_thing_is_counted_as_one(self) -> None:
        assert [counted(n, "key") for n in range(3)] == ["0 keys", "1 key", "2 keys"]


@pytest.mark.database
class TestMigrate:
    def test_a_database_goes_into_production(self, tmp_path: Path, database_url: str) -> None:
        production = {"ENVIRONMENT": "production", "DATABASE_URL": database_url, "JWT_SECRET": SECRET, "PORT": "0"}

        refused = hextasks("serve", cwd=tmp_path, **production)
        assert refused.returncode == 1
        assert "hextasks migrate" in said(refused)
        ill = command("doctor", cwd=tmp_path, **production)
        assert ill.returncode == 1
        assert re.search(r"^FAIL +migrations .*\n +-> .*hextasks migrate", ill.stdout, re.MULTILINE)

        first = hextasks("migrate", cwd=tmp_path, **production)
        assert (first.returncode, first.stderr) == (0, "")
        assert re.fullmatch(r"migrated from revision none to \d+\n", first.stdout)
        again = command("migrate", cwd=tmp_path, **production)
        assert (again.returncode, again.stderr) == (0, "")
        assert re.fullmatch(r"already at revision \d+\n", again.stdout)

        with serving(tmp_path, **production) as served:
            assert "Bearer" not in "".join(served.lines)
            assert served.line("mode") == "production, 1 worker"
            assert re.fullmatch(r"PostgreSQL at \S+", served.line("database"))
            assert httpx.get(f"{served.address}/health/ready", verify=False).status_code == 200
        assert list(tmp_path.iterdir()) == []

    def test_it_generates_no_token_key(self, tmp_path: Path, database_url: str) -> None:
        assert command("migrate", cwd=tmp_path, DATABASE_URL=database_url).returncode == 0
        assert list(tmp_path.iterdir()) == []

    async def test_a_database_of_a_newer_version_is_refused(self, tmp_path: Path, database_url: str) -> None:
        assert command("migrate", cwd=tmp_path, DATABASE_URL=database_url).returncode == 0
        connection = await asyncpg.connect(**connect_arguments(database_url))
        await connection.execute("UPDATE hextasks_version SET version_num = '9999', compatible_from = '9999'")
        for run, name in ((command, "migrate"), (forked, "serve")):
            refused = run(name, cwd=tmp_path, DATABASE_URL=database_url, PORT="0")
            assert refused.returncode == 1
            assert "newer version" in said(refused)
        assert await connection.fetchval("SELECT version_num FROM hextasks_version") == "9999"
        await connection.close()

    def test_memory_is_not_migrated(self, tmp_path: Path) -> None:
        refused = command("migrate", cwd=tmp_path, DATABASE_URL="memory://")
        assert refused.returncode == 1
        assert "memory://" in said(refused)


@pytest.mark.database
class TestDoctor:
    @pytest.mark.parametrize(
        ("settings", "faults"),
        [
            (
                {"DATABASE_URL": "postgresql://ada:tell-tale@127.0.0.1:1/x"},
                [r"database +unavailable: .*127.0.0.1"],
            ),
            (
                {
                    "DATABASE_URL": "postgresql://ada:tell-tale@127.0.0.1:1/x",
                    "PORT": "tell-tale",
                    "OTEL_TRACES_EXPORTER": "tell-tale",
                },
                [r"settings +PORT must be ", r"traces +OTEL_TRACES_EXPORTER must be ", r"database +unavailable: "],
            ),
            (
                {"DATBASE_URL": "tell-tale", "JWT_SECRET": "tell-tale", "LOG_LEVEL": "tell-tale", "PORT": "\n"},
                [
                    *(r"settings +DATBASE_URL: ", r"settings +PORT ", r"settings +LOG_LEVEL ", r"settings +JWT_SECRET"),
                    r"database +not checked",
                ],
            ),
            (
                {"ENVIRONMENT": "production"},
                [r"settings +DATABASE_URL ", r"settings +JWT_SECRET ", r"database +not checked"],
            ),
            (
                {"JWT_JWKS_URL": "http://127.0.0.1:1/jwks", "DATABASE_URL": "postgresql://ada@127.0.0.1:1/x"},
                [r"token key +0 keys at JWT_JWKS_URL: ConnectError", r"database +unavailable: "],
            ),
        ],
        ids=["unreachable", "setting and unreachable", "settings", "production", "issuer and unreachable"],
    )
    def test_every_fault_has_a_remedy(self, tmp_path: Path, settings: dict[str, str], faults: list[str]) -> None:
        found = command("doctor", cwd=tmp_path, **settings)
        assert (found.returncode, found.stderr) == (1, "")
        failed = re.findall(r"^FAIL +(.*)\n +-> \w", found.stdout, re.MULTILINE)
        assert len(failed) == len(faults) == found.stdout.count("FAIL"), found.stdout
        assert all(re.match(fault, line) for fault, line in zip(faults, failed, strict=True)), failed
        assert "tell-tale" not in found.stdout
        assert list(tmp_path.iterdir()) == []

    def test_a_server_that_does_not_answer_is_a_finding_with_a_reason(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"postgresql://ada@127.0.0.1:{silent.getsockname()[1]}/x"
            found = command("doctor", cwd=tmp_path, DATABASE_URL=url, DATABASE_TIMEOUT="0.2")
        assert (found.returncode, found.stderr) == (1, "")
        assert re.search(r"FAIL +database +unavailable: \w", found.stdout)

    def test_memory_is_healthy(self, tmp_path: Path) -> None:
        found = command("doctor", cwd=tmp_path, DATABASE_URL="memory://", OTEL_TRACES_EXPORTER="console")
        assert found.returncode == 0
        assert [line.split()[0] for line in found.stdout.splitlines()] == ["ok"] * 5
        assert re.search(r"^ok +traces +exported \(console\)$", found.stdout, re.MULTILINE)


@pytest.mark.database
class TestToken:
    @pytest.mark.parametrize(
        ("user", "settings", "words"),
        [
            ("ada", {"ENVIRONMENT": "production", "DATABASE_URL": "postgresql://db/x"}, "development only"),
            ("a\nb", {}, "user id"),
            ("ada", {"JWT_SECRET": ""}, "Run: hextasks serve"),
        ],
        ids=["production", "control character", "no service has run"],
    )
    def test_none_is_issued(self, tmp_path: Path, user: str, settings: dict[str, str], words: str) -> None:
        refused = command("token", user, cwd=tmp_path, **{"JWT_SECRET": SECRET, **settings})
        assert (refused.returncode, refused.stdout) == (1, "")
        assert words in said(refused)
        assert list(tmp_path.iterdir()) == []

    def test_several_first_services_at_once_have_one_secret(self, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path / "new")
        with pytest.raises(StartError):
            with_kept_secret(settings)
        with ThreadPoolExecutor(8) as threads:
            secrets = {ready.jwt_secret for ready in threads.map(with_secret, [settings] * 8)}
        assert secrets == {with_kept_secret(settings).jwt_secret}
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["jwt_secret"]

    def test_a_folder_in_the_home_folder_is_the_same_for_every_command(self, tmp_path: Path) -> None:
        settings = {"HOME": str(tmp_path / "home"), "DATA_DIR": "~/x", "DATABASE_URL": "memory://"}
        (started_in := tmp_path / "started_in").mkdir()
        with serving(started_in, **settings, LOG_LEVEL="info") as served:
            token = command("token", "ada", cwd=started_in, **settings).stdout.strip()
            assert str(tmp_path / "home" / "x") in command("doctor", cwd=started_in, **settings).stdout
            headers = {"Authorization": f"Bearer {token}"}
            assert httpx.get(f"{served.address}/api/ada/tasks", headers=headers, verify=False).status_code == 200
        assert [path.name for path in (tmp_path / "home" / "x").iterdir()] == ["jwt_secret"]
        assert list(started_in.iterdir()) == []


@pytest.mark.database
def test_the_openapi_document_needs_no_database_and_leaves_nothing_behind(tmp_path: Path) -> None:
    printed = hextasks("openapi", cwd=tmp_path, DATABASE_URL="postgresql://ada@127.0.0.1:1/x", PORT="no matter")
    assert (printed.returncode, printed.stderr) == (0, "")
    document = json.loads(printed.stdout)
    assert document["openapi"].startswith("3.1")
    assert {"/api/{user_id}/tasks", "/health/live"} <= set(document["paths"])
    assert list(tmp_path.iterdir()) == []
