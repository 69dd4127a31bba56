"""`hextasks doctor`: checks this installation, and prints a remedy for each fault."""

import asyncio
from contextlib import suppress
from typing import NamedTuple

from adapters.tokens import KeysUnavailable
from application import StorageUnavailable
from entrypoints.settings import Settings, SettingsError
from entrypoints.start import StartError, describe_failure, prepared
from entrypoints.storage import opened_postgres


class Finding(NamedTuple):
    """One line of the doctor's report."""

    what: str
    verdict: str
    remedy: str = ""


def doctor() -> int:
    """Print a finding for each thing checked; return 1 when one of them needs a remedy."""
    findings = _findings()
    for what, verdict, remedy in findings:
        print(f"{'FAIL' if remedy else 'ok':5} {what:11} {verdict}")
        if remedy:
            print(f"{'':17} -> {remedy}")
    return int(any(finding.remedy for finding in findings))


def _findings() -> list[Finding]:
    try:
        given = Settings.load()
    except SettingsError as error:
        return [Finding("settings", str(error), "correct it in the environment or in .env")]
    findings = [Finding("settings", f"valid, for {given.environment}")]
    try:
        with prepared(given) as settings:
            findings.append(_token_key(given, settings))
            if settings.storage == "memory":
                findings.append(Finding("database", "memory:// keeps tasks until the process ends"))
                findings.append(Finding("migrations", "none needed"))
            else:
                findings += asyncio.run(_database(settings))
    except StartError as error:
        findings.append(Finding("start", str(error), "follow the line above"))
    return findings


def _token_key(given: Settings, settings: Settings) -> Finding:
    if settings.jwt_jwks_url:
        count = asyncio.run(_count_keys(settings.jwt_jwks_url))
        remedy = "" if count else "correct JWT_JWKS_URL, or check why the issuer does not respond"
        return Finding("token key", f"{count} keys at JWT_JWKS_URL", remedy)
    key = "set by JWT_SECRET" if given.jwt_secret else f"generated for development, in {given.data_dir}"
    return Finding("token key", f"{key}, {len(settings.jwt_secret or '')} characters, HS256")


async def _count_keys(url: str) -> int:
    from adapters.tokens.remote_keys import RemoteKeySet

    keys = RemoteKeySet(url)
    with suppress(KeysUnavailable):
        await keys.find(None, "EdDSA")
    return keys.count


async def _database(settings: Settings) -> list[Finding]:
    try:
        async with opened_postgres(settings) as storage:
            found = await storage.examine()
    except StorageUnavailable as error:
        return [Finding("database", f"unavailable: {describe_failure(error)}", "start it, or correct DATABASE_URL")]
    remedy = "" if found.encoding == "UTF8" else "create a database with encoding UTF8"
    findings = [Finding("database", f"PostgreSQL {found.server_version}, {found.encoding}", remedy)]
    if found.schema is None:
        remedy = f"as the owner of the tables run: {' '.join(found.grants)}"
        return [*findings, Finding("privileges", "the role lacks some", remedy)]
    findings.append(Finding("privileges", "the role has all"))
    remedy = "" if found.schema.is_current else "run: hextasks migrate"
    revision = f"at revision {found.schema.current or 'none'} of {found.schema.head}"
    findings.append(Finding("migrations", revision, remedy))
    return findings
