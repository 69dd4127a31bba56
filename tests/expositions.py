"""Expositions of metrics as Prometheus reads them."""

import shutil
import subprocess
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

CONVENTIONAL = 'db_client_connection_count non-histogram and non-summary metrics should not have "_count" suffix\n'
"""What promtool says against a name of OpenTelemetry's."""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str, *, is_open_metrics: bool = False) -> Samples:
    """Return each sample by its name and labels."""
    families: Any = (open_metrics if is_open_metrics else text_string_to_metric_families)(text)
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "a series stands twice"
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return the sum of the series that have these labels, among others."""
    return sum(number for (each, given), number in samples.items() if each == name and labels.items() <= given)


def checked(text: str) -> Samples:
    """Have promtool check an exposition, where it is installed, and return the samples."""
    if promtool := shutil.which("promtool"):
        ran = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert ran.stderr in ("", CONVENTIONAL), ran.stderr
    return parsed(text)
