"""The dashboard and the rules of docs/examples/monitoring: they ask for what the service shows, and fire in time."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from entrypoints.metrics.table import METRICS
from tests.expositions import parsed
from tests.http.wire import made
from tests.services import running_service
from tests.wires import free_port

FOLDER = Path(__file__).parents[2] / "docs/examples/monitoring"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
RULES = (FOLDER / "alerts.yml").read_text()
GUIDE = (Path(__file__).parents[2] / "docs/guides/monitoring.md").read_text()
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"] if panel["type"] != "row"}
QUERIES = [target["expr"] for panel in PANELS.values() for target in panel["targets"]]
FUNCTIONS = {"sum", "by", "rate", "histogram_quantile", "time", "min", "max", "avg", "or", "and", "bool"}
FUNCTIONS |= {"avg_over_time", "min_over_time", "increase", "changes", "absent"}
ADDED = {"job", "instance", "le", "up"}
"""What Prometheus adds: labels, and the metric of its scrapes."""
ALERTS = re.findall(r"- alert: (\w+)", RULES)
RECORDED = set(re.findall(r"- record: (\S+)", RULES))
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is missing: it comes with Prometheus"
)


def words(query: str) -> set[str]:
    """Return the names of metrics and labels in a query."""
    without_texts = re.sub(r'"[^"]*"|\[[^]]*\]|\$\w+', "", query)
    return set(re.findall(r"\b[a-z][\w:]*", without_texts)) - FUNCTIONS


def queries_of_rules() -> list[str]:
    found = re.findall(r"^ +expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)", RULES, re.MULTILINE)
    return [long or short for long, short in found]


@pytest.mark.database
def test_the_service_shows_every_metric_and_label_that_they_ask_for(service_database_url: str) -> None:
    admin = free_port()
    with running_service(DATABASE_URL=service_database_url, ADMIN_PORT=str(admin)) as service, service.client() as me:
        made(me)
        me.get(me.tasks, headers={"Authorization": "Bearer nonsense"})
        with me.stream("GET", f"{me.tasks}/events") as events:
            next(events.iter_lines())
        samples = parsed(httpx.get(f"http://127.0.0.1:{admin}/metrics", verify=False).text)
    shown = {name for name, _ in samples} | {label for _, labels in samples for label, _ in labels}
    asked = set().union(*map(words, [*QUERIES, *queries_of_rules()]))
    others = {"error_type", "hextasks_log_lines_dropped_total"}  # of what fails, and of the log of `hextasks serve`
    assert asked - RECORDED - ADDED - others <= shown
    assert len(asked & shown) > 30


def test_the_dashboard_shows_every_metric() -> None:
    asked = set().union(*map(words, QUERIES))
    missing = [name for name in METRICS if not {name, f"{name}_bucket"} & asked]
    assert missing == ["process_max_fds"]


def test_the_panels_have_different_numbers_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


def test_the_guide_says_what_to_do_at_each_alert() -> None:
    assert re.findall(r"^\| `(Hextasks\w+)` \|", GUIDE, re.MULTILINE) == ALERTS


@needs_promtool
def test_queries_are_valid(tmp_path: Path) -> None:
    queries = [re.sub(r"\$__rate_interval", "1m", query).replace("$job", "hextasks") for query in QUERIES]
    rules = [{"record": f"q:{n}", "expr": query} for n, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    for path in (tmp_path / "rules.yml", FOLDER / "alerts.yml"):
        promtool("check", "rules", path)


@needs_promtool
def test_alerts_fire_when_they_should() -> None:
    tests = (FOLDER / "alerts_test.yml").read_text()
    for alert in ALERTS:
        assert re.search(rf"alertname: {alert}\n +exp_alerts", tests), f"{alert} is never tested"
        assert f"alertname: {alert}}}" in tests, f"{alert} is only tested to fire"
    promtool("test", "rules", FOLDER / "alerts_test.yml")


def promtool(*arguments: str | Path) -> None:
    ran = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
