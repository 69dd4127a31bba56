"""What prevents a start: each cause is one line that names it, and never a password."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from adapters.embedded_postgres import EmbeddedPostgres
from tests.cli.processes import command, forked_each, said
from tests.embedded_servers import end_servers, query, with_cluster
from tests.patience import eventually

pytestmark = pytest.mark.database

PASSWORD = "tell-tale"
SECRET = "a secret that is thirty-two bytes"
URL = f"postgresql://ada:{PASSWORD}@127.0.0.1:1/tasks"
BAD_URLS = {
    "another database": "mysql://ada:tell-tale@127.0.0.1/tasks",
    "a bracket left open": "postgresql://ada:tell-tale@[::1/tasks",
    "a slash in the password": "postgresql://ada:tell-tale/x@127.0.0.1/tasks",
    "a hash in the password": "postgresql://ada:tell-tale#x@127.0.0.1/tasks",
    "a question mark in the password": "postgresql://ada:tell-tale?x@127.0.0.1/tasks",
    "a port in letters": "postgresql://ada:tell-tale@127.0.0.1:port/tasks",
    "a port that cannot be": "postgresql://ada:tell-tale@127.0.0.1:99999999/tasks",
    "a host that cannot be": "postgresql://ada:tell-tale@a..b/tasks",
    "a comma after the last host": "postgresql://ada:tell-tale@127.0.0.1:1,/tasks",
    "a comma before the first host": "postgresql://ada:tell-tale@,127.0.0.1:1/tasks",
    "no host before a port": "postgresql://ada:tell-tale@:1/tasks",
    "a NUL": "postgresql://ada:tell-tale%00@127.0.0.1:1/tasks",
    "too few ports": "postgresql://ada:tell-tale@/tasks?host=127.0.0.1,127.0.0.1,127.0.0.1&port=1,1",
    "a port that is too large": "postgresql://ada:tell-tale@/tasks?host=127.0.0.1&port=65536",
    "an unknown sslmode": "postgresql://ada@127.0.0.1:1/tasks?sslmode=tell-tale",
    "certificates that are not there": "postgresql://ada:tell-tale@127.0.0.1:1/tasks?sslmode=verify-full&sslrootcert=/no",
    "no timeout": "postgresql://ada:tell-tale@127.0.0.1:1/tasks?connect_timeout=soon",
    "no server": URL,
    "no such host": "postgresql://ada:tell-tale@nowhere.invalid/tasks",
}
PRODUCTION = {"ENVIRONMENT": "production", "DATABASE_URL": URL, "JWT_SECRET": SECRET}
BAD_SETTINGS = {
    "port": ({"PORT": "65536"}, "PORT"),
    "host": ({"HOST": "a..b", "DATABASE_URL": "memory://"}, "HOST"),
    "unknown host": ({"HOST": "nowhere.invalid", "DATABASE_URL": "memory://"}, "HOST"),
    "short secret": ({"JWT_SECRET": PASSWORD}, "JWT_SECRET"),
    "secret is not text": ({"JWT_SECRET": "\udcff" * 40, "DATABASE_URL": "memory://"}, "JWT_SECRET"),
    "secret is a PEM": (
        {"JWT_SECRET": f"-----BEGIN EC PRIVATE KEY-----{PASSWORD}-----END EC PRIVATE KEY-----"},
        "JWT_SECRET",
    ),
    "secret is an ssh key": ({"JWT_SECRET": f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{PASSWORD}"}, "JWT_SECRET"),
    "key set without a host": ({"JWT_JWKS_URL": f"https:///{PASSWORD}", "DATABASE_URL": "memory://"}, "JWT_JWKS_URL"),
    "key set with a password": ({"JWT_JWKS_URL": f"https://ada:{PASSWORD}@id.example"}, "JWT_JWKS_URL"),
    "misspelt name": ({"DATBASE_URL": URL}, "DATBASE_URL: did you mean DATABASE_URL?"),
    "misspelt name, in production": ({**PRODUCTION, "JWT_SECRETS": PASSWORD}, "JWT_SECRETS: did you mean JWT_SECRET?"),
    "misspelt environment": ({"ENVIROMENT": "production"}, "ENVIROMENT: did you mean ENVIRONMENT?"),
    "no database in production": ({"ENVIRONMENT": "production", "JWT_SECRET": SECRET}, "DATABASE_URL"),
    "no secret in production": ({"ENVIRONMENT": "production", "DATABASE_URL": URL}, "JWT_SECRET"),
    "unknown exporter of traces": ({"OTEL_TRACES_EXPORTER": PASSWORD}, "OTEL_TRACES_EXPORTER must be otlp, console"),
    "data folder is a file": ({"DATA_DIR": "/dev/null"}, "/dev/null"),
    "data folder is a file, with a secret": ({"DATA_DIR": "/dev/null", "JWT_SECRET": SECRET}, "/dev/null"),
}
URL_CASES = {
    f"url: {name}": ({"DATABASE_URL": url, "JWT_SECRET": SECRET}, "DATABASE_URL") for name, url in BAD_URLS.items()
}
CASES = URL_CASES | BAD_SETTINGS
BAD_LINE = ".env line 2 (ENVIRONMENT) must be NAME=value. Example: ENVIRONMENT=production"
FILES = {
    ".env is not UTF-8": (".env", b"JWT_SECRET=tell-tale\xff\n", ".env"),
    "a line of .env": (".env", f"JWT_SECRET={PASSWORD * 5}\nENVIRONMENT: production\n".encode(), BAD_LINE),
    "the kept secret is empty": (".data/jwt_secret", b"", "jwt_secret"),
    "the kept secret is short": (".data/jwt_secret", PASSWORD.encode(), "jwt_secret"),
}
ROLES = {
    "a wrong password": ("tell-tale-not", "postgres", "password authentication failed"),
    "a role that may not make tables": (PASSWORD, "postgres", "permission denied"),
    "a database that does not exist": (PASSWORD, "missing", '"missing" does not exist'),
}
Ran = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, guarded: str) -> dict[str, Ran]:
    """The result of `serve` in each case, run at once."""
    folder = tmp_path_factory.mktemp("failures")
    runs = {case: (folder, settings) for case, (settings, _) in CASES.items()}
    for case, (name, content, _) in FILES.items():
        (file := folder / case / name).parent.mkdir(parents=True)
        file.write_bytes(content)
        runs[case] = (folder / case, {"DATABASE_URL": "memory://"})
    for case, (password, database, _) in ROLES.items():
        url = guarded.format(password).replace("/postgres?", f"/{database}?")
        runs[case] = (folder, {"DATABASE_URL": url, "JWT_SECRET": SECRET})
    (folder / "taken").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        runs["PORT"] = (folder / "taken", {"PORT": port})
        runs["ADMIN_PORT"] = (folder / "taken", {"ADMIN_PORT": port})
        ran = forked_each("serve", runs=[(cwd, {"PORT": "0", **settings}) for cwd, settings in runs.values()])
    assert all(f"port {port}" in each.stderr for each in ran[-2:])
    assert list((folder / "taken").iterdir()) == []
    return dict(zip(runs, ran, strict=True))


def failure(ran: Ran) -> str:
    assert "Traceback" not in ran.stderr, ran.stderr
    assert (ran.returncode, ran.stdout) == (1, "")
    assert PASSWORD not in ran.stderr
    line = said(ran)
    assert line.startswith("hextasks: ")
    return line


@pytest.mark.parametrize("case", CASES)
def test_the_setting_at_fault_is_named(served: dict[str, Ran], case: str) -> None:
    assert CASES[case][1] in failure(served[case])


@pytest.mark.parametrize("case", FILES)
def test_the_file_at_fault_is_named(served: dict[str, Ran], case: str) -> None:
    assert FILES[case][2] in failure(served[case])


@pytest.mark.parametrize("case", ROLES)
def test_the_database_gives_the_reason(served: dict[str, Ran], case: str) -> None:
    assert ROLES[case][2] in failure(served[case])


@pytest.mark.parametrize("name", ["PORT", "ADMIN_PORT"])
def test_a_taken_port(served: dict[str, Ran], name: str) -> None:
    assert f"set HOST or {name}" in failure(served[name])


@pytest.mark.parametrize("name", ["migrate", "doctor"])
def test_a_line_of_the_env_file_that_other_commands_do_not_understand(tmp_path: Path, name: str) -> None:
    (tmp_path / ".env").write_text(f"JWT_SECRET={PASSWORD * 5}\nENVIRONMENT: production\n")
    ran = command(name, cwd=tmp_path, DATABASE_URL="memory://", PORT="0")
    assert ran.returncode == 1
    assert PASSWORD not in ran.stderr + ran.stdout
    assert BAD_LINE in (ran.stdout if name == "doctor" else failure(ran))


@pytest.mark.parametrize("name", ["migrate", "doctor"])
def test_other_commands_fail_as_clearly(tmp_path: Path, name: str) -> None:
    ran = command(name, cwd=tmp_path, DATABASE_URL=BAD_URLS["a slash in the password"], JWT_SECRET=SECRET)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert PASSWORD not in ran.stderr + ran.stdout
    assert "DATABASE_URL" in ran.stderr + ran.stdout


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that requires passwords; yields the URL of `guest`, who may only connect, with `{}` for the password."""
    folder = tmp_path_factory.mktemp("guarded")
    with EmbeddedPostgres(with_cluster(folder)).running() as url:
        (folder / "data" / "pg_hba.conf").write_text("local all guest scram-sha-256\nlocal all postgres trust\n")
        query(url, f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'", "SELECT pg_reload_conf()")
        eventually(lambda: _refuses(url.replace("postgres@/", "guest:wrong@/")))
        yield url.replace("postgres@/", "guest:{}@/")
    end_servers(folder)


def _refuses(url: str) -> bool:
    try:
        query(url, "SELECT 1")
    except asyncpg.InvalidPasswordError:
        return True
    return False


def test_a_role_that_may_not_make_tables_cannot_migrate(tmp_path: Path, guarded: str) -> None:
    ran = command("migrate", cwd=tmp_path, DATABASE_URL=guarded.format(PASSWORD), JWT_SECRET=SECRET)
    assert "permission denied" in failure(ran)
