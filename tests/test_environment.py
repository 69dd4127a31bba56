"""The names of settings, and the lines of `.env`: what is misspelt stops the start, what is another tool's does not."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from entrypoints.environment import SettingsError, misspelt, read_dotenv
from entrypoints.settings import Settings

NAMES = Settings.names()
MISSPELT = {
    "DATABASE_URL": "DATBASE_URL DATABASE_ULR DATABASEURL DATABASE-URL DATABASE_URI DATABASES_URL DATA_BASE_URL",
    "ENVIRONMENT": "ENVIROMENT ENVIRONMNET ENVIORNMENT ENVIRONNEMENT NVIRONMENT environment ENVIRONMENT: ENVIRONMENT_",
    "JWT_SECRET": "JWT_SECRETS JWTSECRET JWT_SECERT JWT_SECRT WJT_SECRET jwt_secret Jwt_Secret",
    "JWT_JWKS_URL": "JWT_JWK_URL JWT_JKWS_URL JWT_JWKS_URI JWT_JWKSURL",
    "JWT_ISSUER": "JWT_ISUER JWT_ISSUERS",
    "JWT_AUDIENCE": "JWT_AUDIANCE JWT_AUDIENCES",
    "JWT_USER_CLAIM": "JWT_USER_CLAIMS",
    "CORS_ORIGINS": "CORS_ORIGIN CORS_ORGINS CORS_ORIGNS CROS_ORIGINS",
    "LOG_LEVEL": "LOGLEVEL LOG_LEVLE LOG_LEVE log_level LOG-LEVEL",
    "DATA_DIR": "DATADIR DATA_DRI DTA_DIR DATA_DIRS",
    "WEB_CONCURRENCY": "WEB_CONCURENCY WEB_CONCURRENY",
    "DATABASE_POOL_SIZE": "DATABASE_POOLSIZE DATABASE_POOL_SZIE",
    "DATABASE_POOL_PRE_PING": "DATABASE_POOL_PREPING DATABASE_POOL_PRE_PINGS",
    "DATABASE_MAX_OVERFLOW": "DATABASE_MAX_OVERLOW",
    "DATABASE_TIMEOUT": "DATABASE_TIMOUT DATABASE_TIME_OUT",
    "DATABASE_SCHEMA": "DATABASE_SCHEME DATABASE_SHEMA DATABASE_SCHEMAS",
    "DATABASE_COALESCING": "DATABASE_COALESING DATABASE_COALESCENG",
    "REQUEST_TIMEOUT": "REQEST_TIMEOUT REQUESTS_TIMEOUT",
    "MAX_CONCURRENT_REQUESTS": "MAX_CONCURENT_REQUESTS MAX_CONCURRENT_REQUEST",
    "MAX_STREAMS": "MAX_STREAM MAX_STREMAS",
    "MAX_STREAMS_PER_USER": "MAX_STREAM_PER_USER MAX_STREAMS_PERUSER",
    "RATE_LIMIT_BURST": "RATELIMIT_BURST RATE_LIMIT_BRUST",
    "RATE_LIMIT_PER_SECOND": "RATE_LIMIT_PER_SECONDS",
}  # fmt: skip
OTHER = """
    PATH HOME USER LOGNAME SHELL LANG LC_ALL TERM TZ PWD OLDPWD EDITOR PAGER DISPLAY MAIL HOSTNAME HOSTTYPE host port
    HOSTS PORTS GHOST SPORT PORTAL REPORT POST HTTP_HOST HTTP_PORT SMTP_HOST SMTP_PORT REDIS_URL REDIS_PORT
    METRICS_PORT PORT_HTTP PGHOST PGPORT PGUSER PGDATA PGDATABASE PGPASSWORD PGSSLMODE POSTGRES_DB POSTGRES_PASSWORD
    DATABASE DATABASE_HOST DATABASE_PORT DATABASE_NAME DATABASE_USER DATABASE_PASSWORD DATABASE_SSL DATABASE_DSN
    DATABASE_POOL DATABASE_POOL_MAX DATABASE_POOL_MIN DATABASE_POOL_IDLE DATABASE_PUBLIC_URL DATABASE_PRIVATE_URL
    DATABASE_URL_TEST TEST_DATABASE_URL DATABASE_URL_UNPOOLED DATABASE_URL_RO DATABASE_DIRECT_URL DATABASE_URL_2
    DATABASE_URL2 DATABASE_1_URL SQLALCHEMY_DATABASE_URI MONGO_URL DB_URL POSTGRES_URL DATABASE_TIMEZONE
    JWT_SECRET_KEY JWT_PUBLIC_KEY JWT_PRIVATE_KEY JWT_EXPIRES_IN JWT_ALGORITHM AUTH_SECRET BETTER_AUTH_SECRET
    NEXTAUTH_SECRET BETTER_AUTH_URL JWKS_URL AUTH_JWKS_URL JWT_ISSUER_URL CLIENT_SECRET SECRET_KEY SESSION_SECRET
    CORS_ALLOWED_ORIGINS CORS_ALLOW_ORIGIN CORS_HEADERS CORS_METHODS ALLOWED_ORIGINS
    ENV ENVIRON APP_ENV NODE_ENV RAILS_ENV FLASK_ENV DJANGO_SETTINGS_MODULE ENVIRONMENT_NAME ENVIRONMENT_ID
    ENVIRONMENT_URL APP_ENVIRONMENT NODE_ENVIRONMENT RAILWAY_ENVIRONMENT VERCEL_ENV PYTHONPATH VIRTUAL_ENV
    LOG_LEVEL_SQL APP_LOG_LEVEL LOG_FILE LOG_DIR LOGGING_LEVEL SPDLOG_LEVEL GLOG_LEVEL log.level RUST_LOG
    UVICORN_LOG_LEVEL LOG_LABEL DEBUG VERBOSE LEVEL
    DATA_PATH DATA_VOLUME DATA DIR BASE_DIR XDG_DATA_DIRS XDG_DATA_HOME MEDIA_DIR CACHE_DIR TMPDIR DATA_DIR_HOST
    WEB_WORKERS WEB_PORT WEB_HOST GUNICORN_CMD_ARGS CONCURRENCY MAX_REQUESTS MAX_WORKERS REQUEST_ID TIMEOUT
    REQUEST_TIMEOUT_MS DATABASE_TIMEOUT_MS HTTP_TIMEOUT RATE_LIMIT RATE_LIMIT_MAX RATE_LIMIT_WINDOW
    RATE_LIMIT_PER_MINUTE KUBERNETES_SERVICE_HOST HEXTASKS_SERVICE_PORT HEXTASKS_PORT DATABASE_PORT_5432_TCP
    HTTP_PROXY https_proxy no_proxy SSL_CERT_FILE AWS_REGION COMPOSE_PROJECT_NAME GITHUB_TOKEN CI DYNO __CF _ =
"""


@pytest.mark.parametrize(("setting", "name"), [(s, name) for s, names in MISSPELT.items() for name in names.split()])
def test_a_misspelt_setting_is_recognised(setting: str, name: str) -> None:
    assert misspelt(name, NAMES) == setting


@pytest.mark.parametrize("name", OTHER.split())
def test_another_tools_name_is_passed_over(name: str) -> None:
    assert misspelt(name, NAMES) is None


def test_every_setting_is_far_from_every_other() -> None:
    for name in NAMES:
        assert misspelt(name, [other for other in NAMES if other != name]) is None


@given(st.sampled_from([name for name in NAMES if len(name) > 4]), st.integers(min_value=0), st.data())
def test_a_missing_wrong_or_exchanged_letter_is_recognised(setting: str, at: int, data: st.DataObject) -> None:
    at = 1 + at % (len(setting) - 2)
    letter = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    first, second = setting[at], setting[at + 1]
    assume(at > 1 or letter != setting[0])  # which would be a prefix
    assert misspelt(setting[:at] + setting[at + 1 :], NAMES) == setting
    assert misspelt(setting[:at] + letter + setting[at:], NAMES) == setting
    if "_" not in (first, second):
        assert misspelt(setting[:at] + second + first + setting[at + 2 :], NAMES) in (
            setting,
            None if first == second else setting,
        )
        assert misspelt(setting[:at] + letter + setting[at + 1 :], NAMES) == setting


@pytest.mark.parametrize("name", ["DATABASE_UR\nL", "D" * 100_000, "_" * 100_000, "\ud800", "ENVIRONMENT\x00"])
def test_a_name_that_no_line_can_show_or_that_is_long_is_none(name: str) -> None:
    assert misspelt(name, NAMES) is None


UNPARSABLE = {
    "ENVIRONMENT: production": " (ENVIRONMENT)",
    "  export ENVIRONMENT: production": " (ENVIRONMENT)",
    "ENVIRONMENT:production": " (ENVIRONMENT)",
    "ENVIRONMENT production": " (ENVIRONMENT)",
    "JWT_SECRET:tell-tale==": " (JWT_SECRET)",
    "JWT_SECRET: tell-tale==": " (JWT_SECRET)",
    'JWT_SECRET="tell-tale': " (JWT_SECRET)",
    "JWT_SECRET='tell-tale'tell-tale": " (JWT_SECRET)",
    "DATABASE_URL:postgresql://h/tell-tale?sslmode=require": " (DATABASE_URL)",
    "ENVIRONMENT": " (ENVIRONMENT)",
    "export ENVIRONMENT": " (ENVIRONMENT)",
    "- PORT=9000": "",
    "tell-tale tell-tale": "",
    "-----BEGIN PRIVATE KEY-----": "",
    "=tell-tale": "",
    "if [ -n tell-tale ]; then": "",
    '{"PORT": 9000}': "",
    "'A B'=tell-tale": "",
}


@pytest.mark.parametrize(("line", "about"), UNPARSABLE.items())
def test_a_line_that_assigns_nothing_is_named_and_not_repeated(tmp_path: Path, line: str, about: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"# comment\nPORT=9000\n\n\n{line}\nHOST=::1\n")
    with pytest.raises(SettingsError) as refused:
        read_dotenv(path, NAMES)
    assert str(refused.value) == f"{path} line 5{about} must be NAME=value. Example: ENVIRONMENT=production"


def test_what_a_file_may_hold(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(
        b"\xef\xbb\xbfexport PORT = 9000 # here\r\n#no=1\r\n\r\nHOST='::1'\r\nlog.level=x\nEMPTY=\n"
        b'JWT_ISSUER="a # \\" b"\nMULTI="one\ntwo"\n  DATA_DIR=$HOME/x  \nPORT=9001'
    )
    assert read_dotenv(path, NAMES) == {
        "PORT": "9001",
        "HOST": "::1",
        "log.level": "x",
        "EMPTY": "",
        "JWT_ISSUER": 'a # " b',
        "MULTI": "one\ntwo",
        "DATA_DIR": "$HOME/x",
    }
    assert read_dotenv(tmp_path / "none", NAMES) == {}


@given(text=st.text())
def test_any_text_is_read_or_rejected_in_one_line(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.env"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read_dotenv(path, NAMES)
    except SettingsError as error:
        line = str(error)
    else:
        line = ""
    assert len(line.splitlines()) <= 1
