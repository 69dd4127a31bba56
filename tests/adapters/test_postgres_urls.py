"""Database URLs as providers show them, and the resulting arguments for asyncpg."""

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres import Database, PoolSettings
from adapters.postgres.dsn import _KNOWN, connect_arguments, each_host
from adapters.postgres.statement import Statement
from application import StorageUnavailable


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
        ("postgresql://h/d?pgbouncer=false", {"dsn": "postgresql://h/d", "statement_cache_size": 100}),
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


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@a:1,[::1]/d?sslmode=require", ["u:p@a:1/d?sslmode=require", "u:p@[::1]/d?sslmode=require"]),
        ("postgresql://u@/d?host=/a,/b&port=1,2", ["u@/d?host=%2Fa&port=1", "u@/d?host=%2Fb&port=2"]),
        ("postgresql://u@/d?host=a,b&port=1", ["u@/d?host=a&port=1", "u@/d?host=b&port=1"]),
        ("postgresql://u@/d", ["u@/d"]),
    ],
)
def test_each_of_several_hosts(url: str, expected: list[str]) -> None:
    hosts = [arguments["dsn"] for arguments in each_host(connect_arguments(url))]
    assert [host.replace("target_session_attrs=read-write", "").rstrip("&?") for host in hosts] == [
        f"postgresql://{each}" for each in expected
    ]


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
        *[
            f"postgresql://u:secret@{hosts}/d"
            for hosts in ("h:1,", ",h:1", "h,,h", ",", ":1", "h:1:1", "[::1]x", "[h]")
        ],
        *[
            f"postgresql://u:secret@{hosts}/d"
            for hosts in ("h:0", "h:65536", "h:-1", "h: 1", "h:1,h:x", "a..b", "[::1")
        ],
        *[f"postgresql://{name}/d" for name in ("u:sec@ret@h", "u:secret%00@h", "u%00:secret@h", "secret%00")],
        *[
            f"postgresql://u:secret@/d?{query}"
            for query in ("host=a,", "host=,a", "host=a,,b", "host=%00", "dbname=%00")
        ],
        *[f"postgresql://u@/d?host=a,b&port={port}" for port in ("secret", "1,", "1,2,3", "0", "1,65536", "9" * 5000)],
        *[
            f"postgresql://u@h/d?{name}=secret"
            for name in ("sslmode", "sslnegotiation", "target_session_attrs", "gsslib", "pgbouncer")
        ],
        *[f"postgresql://u@h/d?{name}=secret" for name in ("ssl_min_protocol_version", "ssl_max_protocol_version")],
        "postgresql://u@h/d?sslmode=parse",
        "postgresql://u@h/d?sslmode=",
    ],
    ids=lambda url: url[:50],
)
def test_another_url_is_rejected_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        connect_arguments(url)
    assert "secret" not in str(refused.value)


@pytest.fixture(scope="module")
def no_server() -> Iterator[None]:
    """Have addresses without a port mean one that no server listens on."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPORT", "1")
        yield


HOSTS = st.lists(st.sampled_from(["127.0.0.1", "127.0.0.1:1", "[::1]:1", "", ":1", "127.0.0.1:", "[::1]"]), max_size=3)
VALUES = st.sampled_from(
    ["", "1", "1,2", "127.0.0.1", "127.0.0.1,", "/none,/none", "require", "verify-full", "any", "%00"]
)


@pytest.mark.usefixtures("no_server")
@given(
    user=st.sampled_from(["", "u@", "u:p@", ":@", "u:p@@", "u:%@"]),
    hosts=HOSTS,
    path=st.sampled_from(["", "/", "/d", "/d/e", "/%00", "/%"]),
    query=st.dictionaries(st.sampled_from(sorted(_KNOWN - {"service"})), VALUES, max_size=3),
)
async def test_the_driver_takes_whatever_is_not_rejected(
    user: str, hosts: list[str], path: str, query: dict[str, str]
) -> None:
    url = f"postgresql://{user}{','.join(hosts)}{path}?" + "&".join(f"{name}={value}" for name, value in query.items())
    try:
        database = Database(url, PoolSettings(timeout=0.2))
    except ValueError:
        return
    with pytest.raises(StorageUnavailable):  # there is no server
        await database.fetch(Statement(name="nothing", sql="SELECT 1", is_read=True))
    await database.close()
