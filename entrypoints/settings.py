"""The settings: read from the environment and `.env`, checked before anything starts."""

import os
import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
from dotenv import dotenv_values
from msgspec import Meta

JWT_SECRET_MIN_BYTES = 32
"""RFC 7518, section 3.2: an HS256 key has at least as many bits as its hash."""

EMBEDDED_CONNECTIONS = 200
_DATABASE_SCHEMES = ("postgresql://", "postgres://", "postgresql+asyncpg://")
_ORIGIN = re.compile(r"\*|https?://[^\s/?#@]+")
_Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class SettingsError(Exception):
    """A setting cannot be used. The text is one line, names the setting, and never repeats its value."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    """The operator's choices. Each field is set by the environment variable of the same name in capitals.

    `load` reads and checks them. README and `.env.example` describe each one.
    """

    database_url: str | None = None
    jwt_secret: str | None = None
    jwt_jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_user_claim: str = "sub"
    cors_origins: tuple[str, ...] = ()
    environment: Literal["development", "production"] = "development"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8000
    admin_port: Annotated[int, Meta(ge=0, le=65_535)] | None = None
    web_concurrency: Annotated[int, Meta(ge=1, le=64)] = 1
    data_dir: Path = Path(".data")
    database_pool_size: Annotated[int, Meta(ge=1, le=1000)] = 10
    database_max_overflow: Annotated[int, Meta(ge=0, le=1000)] = 20
    database_pool_pre_ping: bool = True
    database_pool_recycle: _Seconds = 3600.0
    database_timeout: _Seconds = 1.5
    database_coalescing: Literal["all", "user", "off"] = "all"
    request_timeout: _Seconds = 10.0
    max_concurrent_requests: Annotated[int, Meta(ge=1, le=100_000)] = 100
    rate_limit_burst: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    rate_limit_per_second: Annotated[float, Meta(ge=0.001, le=1_000_000)] = 10.0

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> Self:
        """Read the settings; the environment takes precedence over the file, and an empty value counts as unset.

        Raises SettingsError.
        """
        environment = os.environ if environment is None else environment
        sources = (_read(dotenv) if dotenv else {}, environment)
        given: dict[str, Any] = {
            name: value for source in sources for name in cls.names() if (value := source.get(name))
        }
        for name, value in given.items():
            if any("\ud800" <= character <= "\udfff" for character in value):  # bytes that were not UTF-8
                raise SettingsError(f"{name}: expected UTF-8 text")
        if "CORS_ORIGINS" in given:
            given["CORS_ORIGINS"] = [origin.strip() for origin in given["CORS_ORIGINS"].split(",") if origin.strip()]
        try:
            settings = msgspec.convert(given, cls, strict=False, dec_hook=lambda kind, value: kind(value))
        except msgspec.ValidationError as error:
            raise SettingsError(_one_line(error)) from None
        settings._check()
        return settings

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings, as the environment spells them."""
        return cls.__struct_encode_fields__

    @property
    def in_production(self) -> bool:
        """Whether this is a production start, which requires explicit settings."""
        return self.environment == "production"

    @property
    def storage(self) -> Literal["memory", "postgres", "embedded"]:
        """The kind of storage that `database_url` names."""
        if self.database_url is None:
            return "embedded"
        return "memory" if self.database_url.startswith("memory:") else "postgres"

    @property
    def key_source(self) -> Literal["secret", "jwks"]:
        """Which kind of keys verifies tokens; the two kinds never mix."""
        return "jwks" if self.jwt_jwks_url else "secret"

    def _check(self) -> None:
        """Reject what the types cannot express. Raises SettingsError for the first rule that is broken."""
        if self.database_url not in (None, "memory://") and not self.database_url.startswith(_DATABASE_SCHEMES):
            raise SettingsError("DATABASE_URL must start with postgresql:// or be memory://")
        if self.storage == "memory" and self.web_concurrency > 1:
            raise SettingsError("WEB_CONCURRENCY must be 1 with memory://: processes share no memory")
        if self.admin_port and self.admin_port == self.port:
            raise SettingsError("ADMIN_PORT must differ from PORT")
        if self.jwt_secret and self.jwt_jwks_url:
            raise SettingsError("JWT_SECRET and JWT_JWKS_URL exclude each other")
        if self.jwt_secret and len(self.jwt_secret.encode()) < JWT_SECRET_MIN_BYTES:
            raise SettingsError(f"JWT_SECRET must have at least {JWT_SECRET_MIN_BYTES} bytes")
        if self.jwt_jwks_url and not self.jwt_jwks_url.startswith(("https://", "http://")):
            raise SettingsError("JWT_JWKS_URL must start with https:// or http://")
        # An update runs up to three statements: a read, a write, and a read for the reason of a rejection.
        if self.database_timeout * 3 >= self.request_timeout:
            raise SettingsError("DATABASE_TIMEOUT must be less than a third of REQUEST_TIMEOUT")
        connections = self.web_concurrency * (self.database_pool_size + self.database_max_overflow)
        if self.storage == "embedded" and connections >= EMBEDDED_CONNECTIONS:
            raise SettingsError(
                "WEB_CONCURRENCY is too large for the embedded PostgreSQL, which accepts "
                f"{EMBEDDED_CONNECTIONS} connections"
            )
        if not all(_ORIGIN.fullmatch(origin) for origin in self.cors_origins):
            raise SettingsError("CORS_ORIGINS must be origins such as https://app.example.com, or *")
        if self.in_production:
            self._check_production()

    def _check_production(self) -> None:
        if not self.database_url:
            raise SettingsError("DATABASE_URL is required in production")
        if self.storage == "memory":
            raise SettingsError("DATABASE_URL memory:// is for development: its tasks end with the process")
        if not self.jwt_secret and not self.jwt_jwks_url:
            raise SettingsError("JWT_SECRET or JWT_JWKS_URL is required in production")
        if self.jwt_jwks_url and not self.jwt_issuer:
            raise SettingsError("JWT_ISSUER is required with JWT_JWKS_URL in production")


def _read(dotenv: Path) -> dict[str, str | None]:
    try:
        return dotenv_values(stream=StringIO(dotenv.read_text("utf-8")), interpolate=False)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{dotenv} cannot be read as UTF-8 text") from None


def _one_line(error: msgspec.ValidationError) -> str:
    """Turn "Expected `int` <= 65535 - at `$.PORT`" into "PORT: expected `int` <= 65535"."""
    expected, _, place = str(error).partition(" - at `$.")
    name = place.partition("`")[0].partition("[")[0]
    if expected.startswith("Invalid enum value"):
        field = next(f for f in msgspec.structs.fields(Settings) if f.encode_name == name)
        expected = "expected one of " + ", ".join(field.type.__args__)
    return f"{name}: {expected[:1].lower()}{expected[1:]}"
