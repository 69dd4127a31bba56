"""Database URLs as providers show them, and the resulting arguments for asyncpg."""

import ssl
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from adapters.postgres.dsn import connect_arguments


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h:5432/d", {"dsn": "postgresql://u:p@h:5432/d"}),
        ("postgres://u:p@h/d", {"dsn": "postgresql://u:p@h/d"}),
        ("postgresql+asyncpg://u:p@h/d", {"dsn": "postgresql://u:p@h/d"}),
        ("postgresql://u:p%40ss@h/d?sslmode=require", {"dsn": "postgresql://u:p%40ss@h/d?sslmode=require"}),
        (
            "postgresql://u:p@ep-x-pooler.eu.example/d?sslmode=require&channel_binding=require",
            {"dsn": "postgresql://u:p@ep-x-pooler.eu.example/d?sslmode=require"},
        ),
        (
            "postgres://u:p@h:6543/d?pgbouncer=true&connect_timeout=7",
            {"dsn": "postgresql://u:p@h:6543/d", "timeout": 7.0, "statement_cache_size": 0},
        ),
        (
            "postgresql://h/d?connection_limit=1&supa=x&schema=public&hostaddr=::1&options=-c%20x%3D1",
            {"dsn": "postgresql://h/d?options=-c+x%3D1"},
        ),
        ("postgresql://h/d?connect_timeout=0", {"dsn": "postgresql://h/d", "timeout": None}),
        (
            "postgresql://u@a:1,b:2/d",
            {"dsn": "postgresql://u@a:1,b:2/d?target_session_attrs=read-write"},
        ),
        (
            "postgresql://u@a,b/d?target_session_attrs=any&application_name=x",
            {"dsn": "postgresql://u@a,b/d?target_session_attrs=any&application_name=x"},
        ),
        ("postgresql://postgres@/d?host=/a%20b/c", {"dsn": "postgresql://postgres@/d?host=%2Fa+b%2Fc"}),
    ],
)
def test_the_arguments_for_asyncpg(url: str, expected: dict[str, Any]) -> None:
    assert connect_arguments(url) == expected


def test_the_certificate_authorities_of_the_system() -> None:
    arguments = connect_arguments("postgresql://h/d?sslmode=verify-full&sslrootcert=system")
    assert arguments["dsn"] == "postgresql://h/d"
    assert arguments["ssl"].verify_mode is ssl.CERT_REQUIRED
    assert arguments["ssl"].check_hostname


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://u:secret@h/d",
        "postgresql://h/d?connect_timeout=secret",
        "postgresql://h/d?port=secret",
        "postgresql//u:secret@h/d",
    ],
)
def test_another_url_is_rejected_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        connect_arguments(url)
    assert "secret" not in str(refused.value)


@pytest.mark.database
async def test_of_several_hosts_one_that_accepts_writes_is_chosen(server_url: str) -> None:
    arguments = connect_arguments(server_url)
    parts = urlsplit(arguments["dsn"])
    socket_folder = parse_qs(parts.query).get("host", [None])[0]
    if socket_folder:
        several = parts._replace(query=f"host=/nowhere,{socket_folder}&port=1,{parts.port or 5432}")
    else:
        user, _, host = parts.netloc.rpartition("@")
        several = parts._replace(netloc=f"{user}@127.0.0.1:1,{host}")
    connection = await asyncpg.connect(**connect_arguments(several.geturl()))
    assert await connection.fetchval("SHOW transaction_read_only") == "off"
    await connection.close()
