"""The prerequisites of a start: a database, a key to verify tokens with, the schema."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from adapters.tokens import SharedSecret, issue_token
from domain import HextasksError
from entrypoints.settings import Settings


class StartError(HextasksError):
    """The service cannot start. The text is one line with the reason and the remedy."""

    sentence = "The service cannot start."


def describe_failure(error: BaseException) -> str:
    """Return the first line of the driver's message, or the kind of error: hosts and roles, but no password."""
    cause = error.__cause__ or error
    unnamed = "it did not respond in time" if isinstance(cause, TimeoutError) else type(cause).__name__
    return (str(cause).strip().splitlines() or [unnamed])[0]


@contextmanager
def prepared(settings: Settings, *, alone: bool = False) -> Iterator[Settings]:
    """Add a database to settings without one, and keep the embedded database running. Raises StartError.

    With `alone`, no other process may use the embedded database.
    """
    if settings.storage != "embedded":
        yield settings
        return
    from adapters.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError

    try:
        with EmbeddedPostgres(settings.data_dir / "postgres").running(alone=alone) as url:
            yield msgspec.structs.replace(settings, database_url=url)
    except EmbeddedPostgresError as error:
        raise StartError(str(error)) from error


@contextmanager
def prepared_database(settings: Settings, *, otherwise: str) -> Iterator[Settings]:
    """Prepare settings as `prepared` does, for a command that needs a database.

    Raises StartError, for memory:// too, of which `otherwise` says why the command cannot use it.
    """
    if settings.storage == "memory":
        raise StartError(f"memory:// {otherwise}")
    with prepared(settings) as ready:
        yield ready


def with_secret(settings: Settings) -> Settings:
    """Add a token key to settings without one: generated once and kept in the data folder. Raises StartError."""
    if settings.jwt_secret or settings.key_source == "jwks":
        return settings
    path = secret_path(settings)
    try:
        secret = _kept_secret(path)
    except UnicodeDecodeError:
        secret = ""
    except OSError as error:
        raise StartError(f"cannot keep a token key in {path}: {error.strerror}; set JWT_SECRET or DATA_DIR") from error
    try:
        SharedSecret(secret)
    except ValueError:
        raise StartError(f"the token key in {path} is damaged; remove it to have a new one generated") from None
    return msgspec.structs.replace(settings, jwt_secret=secret)


def with_kept_secret(settings: Settings) -> Settings:
    """Add the kept token key to settings without one. Raises StartError where none is kept, too."""
    if settings.jwt_secret or settings.key_source == "jwks" or secret_path(settings).exists():
        return with_secret(settings)
    raise StartError(f"no service has run with {settings.data_dir} yet. Run: hextasks serve; or set JWT_SECRET")


def secret_path(settings: Settings) -> Path:
    """Return the file that keeps a generated token key."""
    return settings.data_dir / "jwt_secret"


def development_token(settings: Settings, user_id: str) -> str:
    """Return a token that a service with these settings accepts. Raises InvalidText and StartError."""
    if settings.key_source == "jwks":
        raise StartError("tokens come from the issuer whose keys JWT_JWKS_URL names")
    return issue_token(
        settings.jwt_secret or "",
        user_id,
        user_claim=settings.jwt_user_claim,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )


def _kept_secret(path: Path) -> str:
    """Read the secret, generating it on first use. Processes that do so concurrently all get the same one."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        new.touch(mode=0o600)
        new.write_text(secrets.token_urlsafe(48))
        try:
            path.hardlink_to(new)
        except FileExistsError:
            pass
        finally:
            new.unlink()
    return path.read_text()
