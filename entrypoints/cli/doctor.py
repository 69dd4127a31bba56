"""`hextasks doctor`: checks this installation, and prints a remedy for each fault."""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from adapters.tokens import KeysUnavailable
from application import StorageUnavailable
from entrypoints.cli import counted
from entrypoints.console import printable
from entrypoints.settings import Settings, SettingsError
from entrypoints.start import StartError, describe_failure, prepared, secret_path, with_secret
from entrypoints.storage import opened_postgres
from entrypoints.traces import INSTALL_EXTRA, add_variables, has_extra

CORRECT_IT = "correct it in the environment or in .env"


class Finding(NamedTuple):
    """One line of the doctor's report."""

    what: str
    verdict: str
    remedy: str = ""


def doctor() -> int:
    """Print a finding for each thing checked; return 1 when one of them needs a remedy."""
    has_faults = False
    for what, verdict, remedy in _findings():
        print(f"{'FAIL' if remedy else 'ok':5} {what:11} {verdict}")
        if remedy:
            print(f"{'':17} -> {remedy}")
            has_faults = True
    return int(has_faults)


def _findings() -> Iterator[Finding]:
    settings, errors = Settings.examine()
    for error in errors:
        yield Finding("settings", str(error), CORRECT_IT)
    if not errors:
        yield Finding("settings", f"valid, for {settings.environment}")
    at_fault = {error.name or "" for error in errors}
    if "" not in at_fault:  # "" stands for a file that cannot be read
        yield from _traces()
    if not any(name.startswith("JWT_") for name in at_fault):
        yield _token_key(settings)
    # Without the setting that is at fault, the database may be another than the one that is meant.
    if at_fault and (settings.storage == "embedded" or any(name.startswith("DATABASE_") for name in at_fault)):
        yield Finding("database", "not checked", "correct the settings, and run: hextasks doctor")
    else:
        yield from _database(settings)


def _traces() -> Iterator[Finding]:
    """Yield a finding if OpenTelemetry's variables name an exporter."""
    try:
        kind = add_variables({**os.environ}, Path(".env"))
    except SettingsError as error:
        yield Finding("traces", str(error), CORRECT_IT)
    else:
        if kind:
            installed = has_extra()
            verdict = f"exported ({kind})" if installed else f"not exported ({kind}): the extra is not installed"
            yield Finding("traces", verdict, "" if installed else INSTALL_EXTRA)


def _token_key(settings: Settings) -> Finding:
    if settings.jwt_jwks_url:
        count, failure = asyncio.run(_fetched_keys(settings.jwt_jwks_url))
        remedy = "" if count else "correct JWT_JWKS_URL, or check why the issuer does not respond with keys"
        reason = f": {printable(failure)}" if failure else ""
        return Finding("token key", f"{counted(count, 'key')} at JWT_JWKS_URL{reason}", remedy)
    path = secret_path(settings)
    if not settings.jwt_secret and not path.exists():
        return Finding("token key", f"none yet; hextasks serve generates one for development, in {path}")
    try:
        secret = with_secret(settings).jwt_secret or ""
    except StartError as error:
        return Finding("token key", str(error), "follow the line above")
    key = "set by JWT_SECRET" if settings.jwt_secret else f"generated for development, in {path}"
    return Finding("token key", f"{key}, {len(secret)} characters, HS256")


async def _fetched_keys(url: str) -> tuple[int, str]:
    """Return the number of keys, and why there are none."""
    from adapters.tokens.remote_keys import RemoteKeySet

    logging.getLogger("hextasks.keys").addHandler(logging.NullHandler())  # the finding says it
    keys = RemoteKeySet(url)
    with suppress(KeysUnavailable):
        await keys.find(None, "EdDSA")
    return keys.count, keys.failure


def _database(settings: Settings) -> list[Finding]:
    if settings.storage == "memory":
        kept = Finding("database", "memory:// keeps tasks until the process ends")
        return [kept, Finding("migrations", "none needed")]
    try:
        with prepared(settings) as ready:
            return asyncio.run(_examined(ready))
    except StartError as error:
        return [Finding("database", str(error), "follow the line above")]


async def _examined(settings: Settings) -> list[Finding]:
    try:
        async with opened_postgres(settings) as storage:
            found = await storage.examine()
    except StorageUnavailable as error:
        return [Finding("database", f"unavailable: {describe_failure(error)}", "start it, or correct DATABASE_URL")]
    remedy = "" if found.encoding == "UTF8" else "create a database with encoding UTF8"
    through = f", through {found.pooler}" if found.pooler else ""
    findings = [Finding("database", f"PostgreSQL {found.server_version}, {found.encoding}{through}", remedy)]
    if found.schema is None:
        remedy = f"as the owner of the tables run: {' '.join(found.grants)}"
        return [*findings, Finding("privileges", "the role lacks some", remedy)]
    findings.append(Finding("privileges", "the role has all"))
    schema = found.schema
    revision = f"at revision {schema.current or 'none'} of {schema.head}"
    if schema.is_newer:
        revision += f", which {'works' if schema.is_compatible else 'does not work'} with this version"
    remedy = "install the version that migrated it" if schema.is_newer else "run: hextasks migrate"
    findings.append(Finding("migrations", revision, "" if schema.is_compatible else remedy))
    if found.distribution:
        sharing = "none" if settings.database_coalescing == "off" else "those of one user"
        remedy = "run: hextasks distribute" if found.distribution.missing else ""
        findings.append(Finding("distributed", f"{found.distribution}; calls that share statements: {sharing}", remedy))
    return findings
