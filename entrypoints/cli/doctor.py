"""`hextasks doctor`: what is right and what is wrong with this installation, each with what to do about it."""

import asyncio
from contextlib import suppress
from typing import NamedTuple

from adapters.tokens import KeysUnavailable
from application import StorageUnavailable
from entrypoints.settings import Settings, SettingsError
from entrypoints.start import StartError, prepared, why
from entrypoints.storage import PostgresStorage


class Finding(NamedTuple):
    """One line of the doctor's report."""

    what: str
    verdict: str
    remedy: str = ""


def doctor() -> int:
    """Print a finding for settings, token key, database and migrations; return 1 when one of them needs a remedy."""
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
        findings.append(Finding("start", str(error), "do what the line above says"))
    return findings


def _token_key(given: Settings, settings: Settings) -> Finding:
    if settings.jwt_jwks_url:
        count = asyncio.run(_count_keys(settings.jwt_jwks_url))
        remedy = "" if count else "correct JWT_JWKS_URL, or look why the issuer does not answer"
        return Finding("token key", f"{count} keys at JWT_JWKS_URL", remedy)
    key = "set by JWT_SECRET" if given.jwt_secret else f"made for development, in {given.data_dir}"
    return Finding("token key", f"{key}, {len(settings.jwt_secret or '')} characters, HS256")


async def _count_keys(url: str) -> int:
    from adapters.tokens.remote_keys import RemoteKeySet

    keys = RemoteKeySet(url)
    with suppress(KeysUnavailable):
        await keys.find(None, "EdDSA")
    return keys.count


async def _database(settings: Settings) -> list[Finding]:
    storage = PostgresStorage(settings)
    try:
        name, encoding, state = await storage.examine()
    except StorageUnavailable as error:
        return [Finding("database", f"cannot be used: {why(error)}", "start it, or correct DATABASE_URL")]
    finally:
        await storage.close()
    remedy = "" if encoding == "UTF8" else "create a database with encoding UTF8"
    findings = [Finding("database", f"PostgreSQL {name}, {encoding}", remedy)]
    remedy = "" if state.is_current else "type: hextasks migrate"
    findings.append(Finding("migrations", f"at revision {state.current or 'none'} of {state.head}", remedy))
    return findings
