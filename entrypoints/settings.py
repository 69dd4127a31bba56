"""The settings: read from the environment and `.env`, checked before anything starts."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import msgspec
from msgspec import Meta

from adapters.tokens import TEST_SECRET, SharedSecret
from domain.rules import FORBIDDEN
from entrypoints.environment import SettingsError, misspelt_names, read_dotenv
from entrypoints.origins import is_origin
from entrypoints.setting_examples import DATABASE_URL_EXAMPLE, EXAMPLES

__all__ = ["DATABASE_URL_EXAMPLE", "EMBEDDED_CONNECTIONS", "Settings", "SettingsError"]

EMBEDDED_CONNECTIONS = 200
DATABASE_SCHEMES = ("postgresql://", "postgres://", "postgresql+asyncpg://")
_Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    """The operator's choices. Each field is set by the environment variable of the same name in capitals.

    `load` reads and checks them. `docs/reference/settings.md` and `.env.example` describe each one.
    """

    database_url: str | None = None
    database_schema: str | None = None
    jwt_secret: str | None = None
    jwt_jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_user_claim: str = "sub"
    cors_origins: tuple[str, ...] = ()
    app_page: bool = False
    environment: Literal["development", "production"] = "development"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8000
    admin_port: Annotated[int, Meta(ge=0, le=65_535)] | None = None
    metrics: bool = True
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
    require_if_match: bool = False
    tombstone_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    idempotency_hours: Annotated[int, Meta(ge=1, le=8760)] = 24
    max_streams: Annotated[int, Meta(ge=1, le=100_000)] = 2000
    max_streams_per_user: Annotated[int, Meta(ge=1, le=100_000)] = 20
    rate_limit_burst: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    rate_limit_per_second: Annotated[float, Meta(ge=0.001, le=1_000_000)] = 10.0
    shutdown_delay: Annotated[float, Meta(ge=0, le=600)] = 0.0

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> Self:
        """Read the settings; the environment takes precedence over the file, and an empty value counts as unset.

        Raises SettingsError.
        """
        settings, errors = cls.examine(environment, dotenv)
        if errors:
            raise errors[0]
        return settings

    @classmethod
    def examine(
        cls, environment: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")
    ) -> tuple[Self, list[SettingsError]]:
        """Read the settings as `load` does, and return them with all errors; a value at fault counts as unset."""
        errors: list[SettingsError] = []
        given: dict[str, Any] = {}
        try:
            in_file = read_dotenv(dotenv, cls.names()) if dotenv else {}
        except SettingsError as error:
            errors.append(error)
            in_file = {}
        for source in (in_file, os.environ if environment is None else environment):
            errors += misspelt_names(source, cls.names())
            given |= {name: source[name] for name in cls.names() if source.get(name)}
        for name, value in [*given.items()]:
            try:
                given[name] = _decoded(name, value)
            except SettingsError as error:
                errors.append(error)
                del given[name]
        while True:
            try:
                settings = msgspec.convert(given, cls, strict=False, dec_hook=lambda _, folder: folder)
                break
            except msgspec.ValidationError as error:
                name = str(error).partition(" - at `$.")[2].partition("`")[0]
                errors.append(_conversion_error(name))
                del given[name]
        return settings, [*errors, *settings._broken_rules()]  # noqa: SLF001  # of its own class

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings, as the environment spells them."""
        return cls.__struct_encode_fields__

    @property
    def in_production(self) -> bool:
        """Whether this is a production start, which requires explicit settings."""
        return self.environment == "production"

    @property
    def has_metrics(self) -> bool:
        """Whether metrics are counted, which only the admin port shows."""
        return self.metrics and self.admin_port is not None

    @property
    def page_path(self) -> str | None:
        """Where the page for users is; None: nowhere."""
        if self.in_production:
            return "/app" if self.app_page else None
        return "/"

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

    def _broken_rules(self) -> Iterator[SettingsError]:
        """Yield an error for each broken rule that the types cannot express."""
        if self.database_url not in (None, "memory://") and not self.database_url.startswith(DATABASE_SCHEMES):
            yield _error("DATABASE_URL", "must start with postgresql:// or be memory://")
        if self.database_schema:
            from adapters.postgres.tables import SCHEMA_RULE, is_schema_name  # SQLAlchemy loads slowly

            if not is_schema_name(self.database_schema):
                yield _error("DATABASE_SCHEMA", SCHEMA_RULE)
        if self.storage == "memory" and self.web_concurrency > 1:
            yield _error("WEB_CONCURRENCY", "must be 1 with memory://, because processes share no memory")
        if self.admin_port and self.admin_port == self.port:
            yield _error("ADMIN_PORT", "must differ from PORT")
        yield from self._broken_key_rules()
        # An update runs up to three statements: a read, a write, and a read for the reason of a rejection. With several
        # tags in If-Match it is one more, and while others change the task, each attempt is two more.
        if self.database_timeout * 3 >= self.request_timeout:
            yield _error("DATABASE_TIMEOUT", "must be less than a third of REQUEST_TIMEOUT")
        connections = self.web_concurrency * (self.database_pool_size + self.database_max_overflow)
        if self.storage == "embedded" and connections >= EMBEDDED_CONNECTIONS:
            accepted = f"the embedded PostgreSQL, which accepts {EMBEDDED_CONNECTIONS} connections"
            yield _error("WEB_CONCURRENCY", f"is too large for {accepted}; use another database or fewer processes")
        if self.cors_origins != ("*",) and not all(map(is_origin, self.cors_origins)):
            form = "origins as browsers send them, in small letters, without path and default port"
            yield _error("CORS_ORIGINS", f"must be * alone, or {form}")
        if self.in_production:
            yield from self._broken_production_rules()

    def _broken_key_rules(self) -> Iterator[SettingsError]:
        if self.jwt_secret and self.jwt_jwks_url:
            yield _error("JWT_SECRET", "and JWT_JWKS_URL exclude each other; set one of them")
        if self.jwt_secret:
            try:
                SharedSecret(self.jwt_secret)
            except ValueError as error:
                yield _error("JWT_SECRET", str(error))
        if self.jwt_jwks_url:
            from adapters.tokens.remote_keys import is_fetchable  # its HTTP client loads slowly

            if not is_fetchable(self.jwt_jwks_url):
                rule = "must start with https:// or http:// and a host name, and must not contain a password or #"
                yield _error("JWT_JWKS_URL", rule)

    def _broken_production_rules(self) -> Iterator[SettingsError]:
        if not self.database_url:
            yield _error("DATABASE_URL", "is required in production")
        if self.storage == "memory":
            yield _error("DATABASE_URL", "memory:// is for development, because its tasks end with the process")
        if not self.jwt_secret and not self.jwt_jwks_url:
            yield _error("JWT_SECRET", "or JWT_JWKS_URL is required in production")
        if self.jwt_secret == TEST_SECRET:
            yield _error("JWT_SECRET", "must not be that of hextasks.testing, which everybody knows")
        if self.jwt_jwks_url and not self.jwt_issuer:
            yield _error("JWT_ISSUER", "is required with JWT_JWKS_URL in production")


def _decoded(name: str, value: str) -> Any:
    """Return what to convert for a value. Raises SettingsError."""
    if FORBIDDEN.search(value.replace("\n", "") if name == "JWT_SECRET" else value):
        raise _error(name, "must be UTF-8 text without control characters")
    match name:
        case "CORS_ORIGINS":
            return [origin.strip() for origin in value.split(",") if origin.strip()]
        case "LOG_LEVEL":
            return value.upper()
        case "DATA_DIR":
            return _folder(value)
    return value


def _folder(text: str) -> Path:
    """Return the folder of a path, which may begin with ~ as in a shell."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise _error("DATA_DIR", "must not begin with the ~ of a user who has no home folder") from None


def _error(name: str, rule: str) -> SettingsError:
    """Return the error for a value that does not follow a rule, with an example."""
    example = EXAMPLES.get(name)
    if example is None:
        default = next(field.default for field in msgspec.structs.fields(Settings) if field.encode_name == name)
        example = f"{default:g}" if isinstance(default, float) else str(default)
    return SettingsError(f"{name} {rule}. Example: {name}={example}", name)


def _conversion_error(name: str) -> SettingsError:
    """Return the error for a value that cannot be converted to the type of its setting."""
    field = next(field for field in msgspec.structs.fields(Settings) if field.encode_name == name)
    kind = msgspec.inspect.type_info(field.type)
    match kind.types[0] if isinstance(kind, msgspec.inspect.UnionType) else kind:  # an optional setting
        case msgspec.inspect.IntType(ge=least, le=most):
            rule = f"a whole number from {least} to {most}"
        case msgspec.inspect.FloatType(gt=above, ge=least, le=most):
            rule = f"a number from {least} to {most}" if above is None else f"a number above {above}, at most {most}"
        case msgspec.inspect.LiteralType():
            rule = " or ".join(get_args(field.type))
        case _:
            rule = "true or false"
    return _error(name, f"must be {rule}")
