"""The documents about metrics: the table of the reference, and the queries and configurations of the guides."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from entrypoints.metrics.table import METRICS

DOCUMENT = Path(__file__).parents[1] / "docs/reference/metrics.md"
GUIDE = Path(__file__).parents[1] / "docs/guides/monitoring.md"
KUBERNETES = GUIDE.with_name("kubernetes.md")


def test_the_document_has_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.+?) \|$", DOCUMENT.read_text(), re.MULTILINE)
    expected = [
        (metric.name, metric.kind, ", ".join(f"`{label}`" for label in metric.labels), metric.help)
        for metric in METRICS.values()
    ]
    assert rows == expected


@pytest.mark.slow
def test_the_guide_names_metrics_that_exist_and_labels_that_they_have(tmp_path: Path) -> None:
    text = GUIDE.read_text()
    queried = set(re.findall(r"\b((?:http_server|db_client|hextasks|process)_\w+?)(?:_bucket|_count|_sum)?\b", text))
    labels = {label for metric in METRICS.values() for label in metric.labels}
    assert queried <= METRICS.keys() | labels
    if promtool := shutil.which("promtool"):
        for guide in (GUIDE, KUBERNETES):
            (configuration,) = re.findall(r"^```yaml\n(.*?)^```", guide.read_text(), re.DOTALL | re.MULTILINE)
            configuration = re.sub(".*kubernetes_sd_configs.*\n", "", configuration)  # which Debian's promtool lacks
            (tmp_path / "prometheus.yml").write_text(configuration)
            subprocess.run([promtool, "check", "config", tmp_path / "prometheus.yml"], check=True, capture_output=True)
        queries = re.findall(r"\| `([^`]*)`[^|`]*\|$", text, re.MULTILINE)
        rules = "".join(f"  - {{record: 'q:{n}', expr: '{query}'}}\n" for n, query in enumerate(queries))
        (tmp_path / "rules.yml").write_text(f"groups:\n- name: guide\n  rules:\n{rules}")
        subprocess.run([promtool, "check", "rules", tmp_path / "rules.yml"], check=True, capture_output=True)
        assert len(queries) == 9
