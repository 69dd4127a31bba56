"""Plots panels of the dashboard from a real run: `python -m tests.benchmarks.monitoring`. Needs Prometheus and wrk.

A service on PostgreSQL, under load and with event streams, scraped by Prometheus; the database is killed for a while.
The panels are what Prometheus answers to the dashboard's own queries.
"""

import asyncio
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Timer

import httpx

from adapters.tokens import issue_token
from tests.benchmarks.lines import Chart, line_charts
from tests.benchmarks.load import require_wrk, run_wrk, write_requests
from tests.patience import eventually
from tests.services import Client
from tests.torture.client import SECRET
from tests.torture.postgres import OwnPostgres, own_postgres
from tests.torture.service import Service
from tests.wires import free_port

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/examples/monitoring"
PICTURE = ROOT / "docs/guides/monitoring.svg"
PANELS = (
    "Requests by status",
    "Responses with a 5xx, by cause",
    "Time of requests",
    "p99 by route",
    "Statements",
    "p99 of statements",
    "Failed statements",
    "Connections to the database",
    "Calls in a shared statement",
    "Lag of the feed",
    "Event streams",
    "Processor time",
)
USERS, TASKS, STREAMS = 20, 20, 5
CLIENTS = 16
SECONDS, KILLED_AT, RESTARTED_AT = 80, 35, 45


@contextmanager
def running_prometheus(folder: Path, admin_port: int) -> Iterator[str]:
    """Run Prometheus, which scrapes the service every second, until the end of the block; yields its URL."""
    scrape = {"job_name": "hextasks", "static_configs": [{"targets": [f"127.0.0.1:{admin_port}"]}]}
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(FOLDER / "alerts.yml")],
        "scrape_configs": [scrape],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    address = f"127.0.0.1:{free_port()}"
    options = {"config.file": "prometheus.yml", "storage.tsdb.path": "data", "web.listen-address": address}
    with (
        (folder / "prometheus.log").open("w") as log,
        subprocess.Popen(
            ["prometheus", *(f"--{name}={value}" for name, value in options.items())], cwd=folder, stderr=log
        ) as process,
    ):
        try:
            eventually(lambda: _is_ready(f"http://{address}"))
            yield f"http://{address}"
        finally:
            process.terminate()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").is_success
    except httpx.TransportError:
        return False


def requests(address: str) -> Iterator[bytes]:
    """Make tasks, and yield requests about them: reads, changes, a retry with a key, one without a valid token."""
    for number in range(USERS):
        with Client(address, f"user-{number}", issue_token(SECRET, f"user-{number}")) as user:
            ids = [user.post(user.tasks, json={"title": "Buy milk"}).json()["id"] for _ in range(TASKS)]
        head = f"HTTP/1.1\r\nHost: localhost\r\nAuthorization: {user.headers['Authorization']}\r\n"
        for each in ids:
            path = f"{user.tasks}/{each}"
            yield from (f"GET {target} {head}\r\n".encode() for target in (path, f"{user.tasks}?limit=20", path))
            for line, title in (
                (f"PUT {path}", "Buy tea"),
                (f"POST {user.tasks}", "Buy milk"),
                (f"PUT {path}", "Buy oat milk"),
            ):
                yield _with_title(line, head, title)
        yield _with_title(f"POST {user.tasks}", f"{head}Idempotency-Key: k\r\n", "Buy milk")
        yield f"GET {user.tasks} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def _with_title(line: str, head: str, title: str) -> bytes:
    body = json.dumps({"title": title})
    return f"{line} {head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def panels(prometheus: str, began: float) -> Iterator[Chart]:
    """Ask Prometheus for what the dashboard shows."""
    dashboard = {panel["title"]: panel for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]}
    for title in PANELS:
        series: dict[str, list[tuple[float, float]]] = {}
        for target in dashboard[title]["targets"]:
            query = target["expr"].replace("$__rate_interval", "5s").replace("$job", "hextasks")
            asked = {"query": query, "start": str(began), "end": str(began + SECONDS), "step": "1"}
            answer = httpx.get(f"{prometheus}/api/v1/query_range", params=asked).raise_for_status().json()
            for found in answer["data"]["result"]:
                name = _name(target["legendFormat"], found["metric"])
                points = [(moment - began, float(value)) for moment, value in found["values"] if value != "NaN"]
                if points and name != "limit":
                    series[name] = points
        yield Chart(title, dashboard[title]["fieldConfig"]["defaults"]["unit"], series)


def _name(legend: str, labels: Mapping[str, str]) -> str:
    for label, value in labels.items():
        legend = legend.replace(f"{{{{{label}}}}}", value)
    return re.sub(r"127\.0\.0\.1:\d+", "replica", legend).replace("/api/{user_id}/tasks", "…")


def firing(prometheus: str) -> list[str]:
    """Return the names of the alerts that fire."""
    alerts = httpx.get(f"{prometheus}/api/v1/alerts").raise_for_status().json()["data"]["alerts"]
    return sorted({alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"})


async def run(postgres: OwnPostgres, folder: Path) -> None:
    """Run the load, and write the picture."""
    admin = free_port()
    service = Service(folder, postgres, await postgres.new_database())
    async with service.running(ADMIN_PORT=str(admin)):
        with ExitStack() as stack:
            prometheus = stack.enter_context(running_prometheus(folder, admin))
            file = write_requests(folder / "requests", requests(service.address))
            for number in range(STREAMS):
                client = stack.enter_context(
                    Client(service.address, f"user-{number}", issue_token(SECRET, f"user-{number}"))
                )
                stack.enter_context(client.stream("GET", f"{client.tasks}/events"))
            began = time.time()
            for seconds, act in ((KILLED_AT, postgres.kill), (RESTARTED_AT, postgres.start)):
                timer = Timer(seconds, act)
                timer.start()
            port = int(service.address.rpartition(":")[2])
            load = await asyncio.to_thread(run_wrk, port, file, clients=CLIENTS, seconds=SECONDS - 5, cycle=True)
            print(load)
            await asyncio.sleep(max(0.0, began + SECONDS - time.time()))
            charts = [*panels(prometheus, began)]
            shaded = (KILLED_AT, RESTARTED_AT)
            PICTURE.write_text(line_charts(charts, seconds=SECONDS, shaded=shaded))
            print("firing:", *firing(prometheus))


def main() -> None:
    """Run it in a folder that is removed afterwards."""
    require_wrk()
    if not shutil.which("prometheus"):
        raise SystemExit("Prometheus is missing: apt-get install prometheus (or brew install prometheus)")
    with own_postgres() as postgres, tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(postgres, Path(folder)))


if __name__ == "__main__":
    main()
