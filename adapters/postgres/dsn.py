"""Database URLs as providers show them, converted to arguments for asyncpg."""

import ssl
from math import inf
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

# The parameters that asyncpg reads, and the session settings that are safe to pass on. All others are meant for other
# clients, and the server would reject them. channel_binding is ignored too, because asyncpg has no SCRAM-SHA-256-PLUS:
# TLS (sslmode) protects the password.
_KNOWN = frozenset(
    {
        *("host", "port", "user", "password", "passfile", "dbname", "database", "service", "target_session_attrs"),
        *("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib"),
        *("application_name", "options", "search_path"),
    }
)
_FORM = "postgresql://user:password@host:port/database"
_ENCODE = "percent-encode the special characters of user and password"
_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")


def connect_arguments(url: str) -> dict[str, Any]:
    """Return the arguments for `asyncpg.connect` that correspond to a URL.

    Takes `postgresql://` and `postgres://`, several hosts, and libpq's query settings. With several hosts and no
    `target_session_attrs`, the one that accepts writes is chosen. Raises ValueError, which never repeats the URL, when
    it is not a PostgreSQL URL.
    """
    try:
        parts = urlsplit(url)
        ports = [urlsplit(f"//{host}").port for host in parts.netloc.rpartition("@")[2].split(",")]
    except ValueError:  # its message may repeat the password
        raise ValueError(f"not a URL of the form {_FORM}; {_ENCODE}") from None
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"not a URL of the form {_FORM}")
    if parts.fragment or "@" in parts.path or 0 in ports or not _can_be_hosts(parts.netloc):
        raise ValueError(f"not a host, port and database; {_ENCODE}")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    arguments: dict[str, Any] = {}
    if "connect_timeout" in query:
        arguments["timeout"] = _seconds(query.pop("connect_timeout"))
    if query.get("sslrootcert") == "system":  # libpq 16: the certificate authorities of the operating system
        del query["sslrootcert"]
        query.pop("sslmode", None)
        arguments["ssl"] = ssl.create_default_context()
    if "," in parts.netloc.rpartition("@")[2] or "," in query.get("host", ""):
        query.setdefault("target_session_attrs", "read-write")
    if query.get("pgbouncer") == "true":  # a transaction pooler does not keep prepared statements
        arguments["statement_cache_size"] = 0
    if any(port and not port.isdecimal() for port in query.get("port", "").split(",")):
        raise ValueError("port is not a number")
    kept = {name: value for name, value in query.items() if name in _KNOWN}
    arguments["dsn"] = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(kept), ""))
    return arguments


def _can_be_hosts(netloc: str) -> bool:
    try:
        netloc.rpartition("@")[2].encode("idna")
    except UnicodeError:
        return False
    return True


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError("connect_timeout is not a number of seconds") from None
    return seconds if 0 < seconds < inf else None
