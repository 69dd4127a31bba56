"""What `hextasks serve` prints when it listens."""

from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit

from entrypoints.cli import counted
from entrypoints.settings import Settings
from entrypoints.start import development_token

_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # the addresses that stand for all interfaces


def announcement(given: Settings, ready: Settings, port: int, admin_port: int | None = None, *, reload: bool) -> str:
    """Return the lines: where the service is, how it runs, and what to try. They contain no password.

    `given` are the settings as the operator chose them, `ready` the same with database and token key.
    """
    address = f"http://{_host(given)}:{port}"
    workers = counted(given.web_concurrency, "worker")
    lines = {"mode": f"{given.environment}, {workers}{', restarted when the code changes' if reload else ''}"}
    lines["database"] = _database(given)
    if admin_port:
        lines["health"] = f"http://{_host(given)}:{admin_port}/health/ready"
        if given.has_metrics:
            lines["metrics"] = f"http://{_host(given)}:{admin_port}/metrics"
    token = development_token(ready, "ada") if not given.in_production and given.key_source == "secret" else ""
    if given.page_path:
        # A browser sends no fragment to the server, so that the token is in no log.
        lines["page"] = f"{address}{given.page_path}" + (f"#token={token}" if token else "")
    lines["docs"] = f"{address}/docs"
    if token:
        body = """-H 'Content-Type: application/json' -d '{"title": "Buy milk"}'"""
        lines["try"] = f"curl -H 'Authorization: Bearer {token}' {body} {address}/api/ada/tasks"
    about = [f"  {name:9} {what}" for name, what in lines.items()]
    return "\n".join([f"hextasks {version('hextasks')} listens on {address}", *about])


def _host(settings: Settings) -> str:
    host = _LOCAL.get(settings.host, settings.host)
    return f"[{host}]" if ":" in host else host


def _database(settings: Settings) -> str:
    match settings.storage:
        case "embedded":
            return f"embedded PostgreSQL in {settings.data_dir / 'postgres'}"
        case "memory":
            return "memory, until the process ends"
    url = urlsplit(settings.database_url or "")
    hosts = url.netloc.rpartition("@")[2] or ",".join(parse_qs(url.query).get("host", [])) or "its default host"
    return f"PostgreSQL at {hosts}"
