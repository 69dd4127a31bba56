"""Database URLs as providers show them, converted to arguments for asyncpg."""

import re
import ssl
from math import inf
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

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
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "target_session_attrs": ("any", "primary", "standby", "prefer-standby", "read-write", "read-only"),
    "gsslib": ("gssapi", "sspi"),
    "pgbouncer": ("true", "false"),
}
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::\d*)?")
_FORM = "postgresql://user:password@host:port/database"
_ENCODE = "percent-encode the special characters of user and password"
SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")


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
    if parts.scheme not in SCHEMES:
        raise ValueError(f"not a URL of the form {_FORM}")
    if (
        parts.fragment
        or "@" in parts.path
        or parts.netloc.count("@") > 1
        or 0 in ports
        or not _are_hosts(parts.netloc.rpartition("@")[2])
    ):
        raise ValueError(f"not a host, port and database; {_ENCODE}")
    if "\0" in unquote(url):
        raise ValueError("contains a NUL character")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    _check_query(query)
    arguments: dict[str, Any] = {}
    if "connect_timeout" in query:
        arguments["timeout"] = _seconds(query.pop("connect_timeout"))
    if query.get("sslrootcert") == "system":  # libpq 16: the certificate authorities of the operating system
        del query["sslrootcert"]
        query.pop("sslmode", None)
        arguments["ssl"] = ssl.create_default_context()
    if "," in parts.netloc.rpartition("@")[2] or "," in query.get("host", ""):
        query.setdefault("target_session_attrs", "read-write")
    if "pgbouncer" in query:  # whether a pooler keeps no prepared statements; otherwise each connection is examined
        arguments["statement_cache_size"] = 0 if query["pgbouncer"] == "true" else 100
    kept = {name: value for name, value in query.items() if name in _KNOWN}
    arguments["dsn"] = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(kept), ""))
    return arguments


def each_host(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the arguments of a URL once for each of its hosts, in its order."""
    parts = urlsplit(arguments["dsn"])
    user, at, hosts = parts.netloc.rpartition("@")
    if hosts:
        urls = [parts._replace(netloc=f"{user}{at}{host}") for host in hosts.split(",")]
    else:
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        names, ports = query.get("host", "").split(","), query.get("port", "").split(",")
        pairs = zip(names, ports if len(ports) > 1 else ports * len(names), strict=True)
        each = [query | {"host": name, "port": port} for name, port in pairs] if len(names) > 1 else [query]
        urls = [parts._replace(query=urlencode(one)) for one in each]
    return [{**arguments, "dsn": url.geturl()} for url in urls]


def _are_hosts(text: str) -> bool:
    """Return whether a URL may have these hosts with their ports; none stands for the default."""
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return text == "" or all(_HOST.fullmatch(host) for host in text.split(","))


def _check_query(query: dict[str, str]) -> None:
    """Raise ValueError for a value that the driver does not take."""
    for name, choices in _CHOICES.items():
        if name in query and query[name] not in choices:
            raise ValueError(f"{name} is none of {', '.join(choices)}")
    hosts, ports = query.get("host", "").split(","), query.get("port", "").split(",")
    if len(hosts) > 1 and "" in hosts:
        raise ValueError("host lacks the name of one of several hosts")
    if ports != [""] and not all(re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) < 65_536 for port in ports):
        raise ValueError("port is not a number from 1 to 65535")
    if len(ports) not in (1, len(hosts)):
        raise ValueError("port is neither one number nor one for each host")


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError("connect_timeout is not a number of seconds") from None
    return seconds if 0 < seconds < inf else None
