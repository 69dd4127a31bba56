"""Every setting: its default, accepted and refused values, and that no refusal repeats a value."""

import re
from pathlib import Path

import msgspec
import pytest

from adapters.tokens import TEST_SECRET
from entrypoints.settings import Settings, SettingsError, _error

SECRET = "a secret that is thirty-two bytes"
URL = "postgresql://ada@db.example/tasks"
PRODUCTION = {"ENVIRONMENT": "production", "DATABASE_URL": URL, "JWT_SECRET": SECRET}
SECONDS = [
    "DATABASE_POOL_RECYCLE",
    "DATABASE_TIMEOUT",
    "REQUEST_TIMEOUT",
]


def load(**environment: str) -> Settings:
    return Settings.load(environment, dotenv=None)


def refusal(**environment: str) -> str:
    with pytest.raises(SettingsError) as refused:
        load(**environment)
    assert refused.value.__cause__ is None
    return str(refused.value)


def test_the_defaults() -> None:
    assert msgspec.structs.asdict(load()) == {
        "database_url": None,
        "database_schema": None,
        "jwt_secret": None,
        "jwt_jwks_url": None,
        "jwt_issuer": None,
        "jwt_audience": None,
        "jwt_user_claim": "sub",
        "cors_origins": (),
        "app_page": False,
        "environment": "development",
        "log_level": "INFO",
        "log_format": "auto",
        "host": "127.0.0.1",
        "port": 8000,
        "admin_port": None,
        "metrics": True,
        "web_concurrency": 1,
        "data_dir": Path(".data"),
        "database_pool_size": 10,
        "database_max_overflow": 20,
        "database_pool_pre_ping": True,
        "database_pool_recycle": 3600.0,
        "database_timeout": 1.5,
        "database_coalescing": "all",
        "request_timeout": 10.0,
        "max_concurrent_requests": 100,
        "require_if_match": False,
        "tombstone_days": 30,
        "idempotency_hours": 24,
        "max_streams": 2000,
        "max_streams_per_user": 20,
        "rate_limit_burst": 0,
        "rate_limit_per_second": 10.0,
    }


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *[("DATABASE_URL", url, url) for url in ("memory://", URL, "postgres://a,b/c", "postgresql+asyncpg://a/b")],
        *[("DATABASE_SCHEMA", name, name) for name in ("tasks_2", "_", "x" * 63, "select")],
        ("JWT_SECRET", "x" * 32, "x" * 32),
        ("JWT_SECRET", "é" * 16, "é" * 16),
        ("JWT_SECRET", f"{SECRET}\n", f"{SECRET}\n"),
        ("JWT_JWKS_URL", "https://id.example/jwks", "https://id.example/jwks"),
        ("JWT_ISSUER", "https://id.example/", "https://id.example/"),
        ("JWT_AUDIENCE", "tasks", "tasks"),
        ("JWT_USER_CLAIM", "email", "email"),
        ("CORS_ORIGINS", "*", ("*",)),
        ("CORS_ORIGINS", "https://[::1]:8443,http://my_host", ("https://[::1]:8443", "http://my_host")),
        ("CORS_ORIGINS", " https://a.example ,http://localhost:3000,,", ("https://a.example", "http://localhost:3000")),
        *[("LOG_LEVEL", text, text.upper()) for text in ("DEBUG", "info", "Warning", "error")],
        *[("DATABASE_COALESCING", mode, mode) for mode in ("all", "user", "off")],
        ("HOST", "::1", "::1"),
        *[(name, text, int(text)) for name in ("PORT", "ADMIN_PORT") for text in ("0", "65535")],
        *[("WEB_CONCURRENCY", text, int(text)) for text in ("1", "6")],
        ("DATA_DIR", "/var/lib/häx tasks", Path("/var/lib/häx tasks")),
        *[("DATABASE_POOL_SIZE", text, int(text)) for text in ("1", "100")],
        *[("DATABASE_MAX_OVERFLOW", text, int(text)) for text in ("0", "100")],
        *[
            (name, text, text in "true 1")
            for name in ("DATABASE_POOL_PRE_PING", "APP_PAGE", "METRICS")
            for text in ("true", "false", "1", "0")
        ],
        *[("DATABASE_POOL_RECYCLE", text, float(text)) for text in ("0.001", "60", "86400")],
        ("DATABASE_TIMEOUT", "3.3", 3.3),
        ("REQUEST_TIMEOUT", "4.6", 4.6),
        *[("MAX_CONCURRENT_REQUESTS", text, int(text)) for text in ("1", "100000")],
        *[("TOMBSTONE_DAYS", text, int(text)) for text in ("1", "3650")],
        *[("IDEMPOTENCY_HOURS", text, int(text)) for text in ("1", "8760")],
        *[("RATE_LIMIT_BURST", text, int(text)) for text in ("0", "1000000")],
        *[("RATE_LIMIT_PER_SECOND", text, float(text)) for text in ("0.01", "1000000")],
    ],
)
def test_accepted_values(name: str, text: str, value: object) -> None:
    assert getattr(load(**{name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[("DATABASE_URL", f"{start}ada:tell-tale@db/x") for start in ("", "mysql://", "memory://", "postgresql:")],
        *[("DATABASE_SCHEMA", bad) for bad in ("tell-tale", "Tell_tale", "1tell", "pg_tell", 'tell"', "x" * 64)],
        ("JWT_SECRET", "tell-tale".ljust(31, "!")),
        *[("CORS_ORIGINS", f"https://fine.example,{bad}") for bad in ("tell-tale", "ftp://tell-tale", "https://")],
        *[("CORS_ORIGINS", f"https://tell-tale{rest}") for rest in ("/", "/path", "?query", " two", ":443", ":0", ".")],
        *[
            ("CORS_ORIGINS", f"https://tell-tale{rest}")
            for rest in (":65536", ":08", ":x", "..a", "#", "@b", ".Example")
        ],
        *[
            ("CORS_ORIGINS", bad)
            for bad in ("*,https://tell-tale", "*,*", "https://*.tell-tale", "https://tell-tale:*")
        ],
        *[("CORS_ORIGINS", bad) for bad in ("https://tell-täle", "HTTPS://tell-tale", "http://tell-tale:80", "null")],
        *[("JWT_SECRET", key) for key in ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "ssh-ed25519 tell-tale".ljust(40))],
        *[("JWT_SECRET", key.ljust(40, "x")) for key in ("tell-tale\x00", "tell-tale\udcff")],
        *[("JWT_JWKS_URL", bad) for bad in ("tell-tale", "ftp://tell-tale", "https:///", "https://ada:tell-tale@b/")],
        *[("JWT_JWKS_URL", bad) for bad in ("https://tell-tale:x", "https://[tell-tale", "https://tell-tale..b/")],
        *[("DATA_DIR", bad) for bad in ("~tell-tale/x", "tell-tale\x00", "tell-tale\n")],
        ("HOST", "tell-tale\x7f"),
        *[("ENVIRONMENT", bad) for bad in ("tell-tale", "PRODUCTION", "development,production")],
        *[("LOG_LEVEL", bad) for bad in ("tell-tale", "CRITICAL!", "17")],
        *[
            (name, bad)
            for name in ("PORT", "ADMIN_PORT")
            for bad in ("-7", "65536", "tell-tale", "80.5", "8000/tcp", "9" * 5000)
        ],
        *[("WEB_CONCURRENCY", bad) for bad in ("0", "65", "tell-tale")],
        *[("DATABASE_POOL_SIZE", bad) for bad in ("-0", "1001", "tell-tale")],
        *[("DATABASE_MAX_OVERFLOW", bad) for bad in ("-7", "1001", "tell-tale")],
        *[(name, bad) for name in ("DATABASE_POOL_PRE_PING", "APP_PAGE", "METRICS") for bad in ("tell-tale", "2")],
        *[("MAX_CONCURRENT_REQUESTS", bad) for bad in ("-0", "100001", "tell-tale")],
        *[("MAX_STREAMS", bad) for bad in ("-0", "100001", "tell-tale")],
        *[("MAX_STREAMS_PER_USER", bad) for bad in ("-0", "100001", "tell-tale")],
        *[("TOMBSTONE_DAYS", bad) for bad in ("-0", "3651", "0.5", "tell-tale")],
        *[("IDEMPOTENCY_HOURS", bad) for bad in ("-0", "8761", "0.5", "tell-tale")],
        *[("RATE_LIMIT_BURST", bad) for bad in ("-7", "1000001", "tell-tale")],
        *[("RATE_LIMIT_PER_SECOND", bad) for bad in ("0e7", "-7", "nan", "tell-tale")],
        *[(name, bad) for name in SECONDS for bad in ("0e7", "-7", "86401", "nan", "inf", "tell-tale")],
    ],
    ids=lambda text: text[:30],
)
def test_a_bad_value_is_one_line_that_names_the_setting_and_keeps_the_value(name: str, text: str) -> None:
    said = refusal(**{name: text})
    assert name in said
    assert len(said.splitlines()) == 1
    assert re.search(rf"\. Example: {name}=\S", said)
    assert text not in said
    assert "tell-tale" not in said


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL is required in production"),
        ({"JWT_SECRET": ""}, "JWT_SECRET or JWT_JWKS_URL is required in production"),
        ({"JWT_SECRET": TEST_SECRET}, "JWT_SECRET must not be that of hextasks.testing"),
        ({"DATABASE_URL": "memory://"}, "DATABASE_URL memory:// is for development"),
        ({"JWT_JWKS_URL": "https://id.example/jwks"}, "JWT_SECRET and JWT_JWKS_URL exclude each other"),
        ({"JWT_SECRET": "", "JWT_JWKS_URL": "https://id.example/jwks"}, "JWT_ISSUER is required with JWT_JWKS_URL"),
        ({"JWT_SECRET": "", "JWT_JWKS_URL": "id.example"}, "JWT_JWKS_URL must start with https:// or http://"),
        ({"DATABASE_TIMEOUT": "3.4"}, "DATABASE_TIMEOUT must be less than a third of REQUEST_TIMEOUT"),
        ({"PORT": "9000", "ADMIN_PORT": "9000"}, "ADMIN_PORT must differ from PORT"),
        ({"ENVIRONMENT": "", "DATABASE_URL": "", "WEB_CONCURRENCY": "7"}, "WEB_CONCURRENCY is too large"),
        ({"ENVIRONMENT": "", "DATABASE_URL": "memory://", "WEB_CONCURRENCY": "2"}, "WEB_CONCURRENCY must be 1"),
    ],
)
def test_conflicting_settings_are_rejected(changed: dict[str, str], words: str) -> None:
    assert load(**PRODUCTION).in_production
    said = refusal(**PRODUCTION | changed)
    assert words in said
    assert re.search(r"\. Example: [A-Z_]+=\S", said)


@pytest.mark.parametrize("name", Settings.names())
def test_the_example_for_a_setting_is_valid_unless_it_is_a_secret_that_all_could_know(name: str) -> None:
    environment = {name: str(_error(name, "")).partition(f"{name}=")[2]}
    if name == "JWT_SECRET":
        assert "must have at least 32 bytes" in refusal(**environment)
    else:
        load(**environment)


@pytest.mark.parametrize("others", [{}, PRODUCTION, {"ENVIRONMENT": "production"}])
def test_a_misspelt_name_is_rejected_whatever_else_is_set(others: dict[str, str]) -> None:
    said = refusal(**others, DATBASE_URL="postgresql://ada:tell-tale@db/x")
    assert said == "DATBASE_URL: did you mean DATABASE_URL? Correct or remove it"
    assert "did you mean ENVIRONMENT?" in refusal(ENVIROMENT="production")


def test_a_folder_may_be_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert load(DATA_DIR="~/x").data_dir == Path("/home/ada/x")
    assert load(DATA_DIR="~").data_dir == Path("/home/ada")
    assert load(DATA_DIR="x/~").data_dir == Path("x/~")


@pytest.mark.parametrize(("url", "storage"), [("", "embedded"), ("memory://", "memory"), (URL, "postgres")])
def test_which_storage_a_url_stands_for(url: str, storage: str) -> None:
    assert load(DATABASE_URL=url).storage == storage


@pytest.mark.parametrize(
    ("settings", "path"), [({}, "/"), (PRODUCTION, None), ({**PRODUCTION, "APP_PAGE": "true"}, "/app")]
)
def test_where_the_page_is(settings: dict[str, str], path: str | None) -> None:
    assert load(**settings).page_path == path
