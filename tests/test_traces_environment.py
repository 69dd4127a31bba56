"""OpenTelemetry's variables: which ask for traces, which are rejected, and none is a misspelt setting."""

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from entrypoints.environment import misspelt_names
from entrypoints.http.server.trace_context import parse_traceparent
from entrypoints.settings import Settings, SettingsError
from entrypoints.traces import add_variables, exporter_kind, open_traces

OTLP = "OTEL_EXPORTER_OTLP_"
ENDPOINT = {f"{OTLP}ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "tasks", "OTEL_TRACES_SAMPLER": "always_on"}, None),
        ({f"{OTLP}METRICS_ENDPOINT": "http://collector:4318"}, None),
        (ENDPOINT, "otlp"),
        ({f"{OTLP}TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, None),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": ""}, "otlp"),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, None),
        ({**ENDPOINT, f"{OTLP}PROTOCOL": "grpc", f"{OTLP}TRACES_PROTOCOL": "http/protobuf"}, "otlp"),
        ({f"{OTLP}PROTOCOL": "grpc"}, None),
    ],
)
def test_an_exporter_has_to_be_named(environment: dict[str, str], kind: str | None) -> None:
    assert exporter_kind(environment) == kind


@pytest.mark.parametrize("bad", [{"OTEL_TRACES_EXPORTER": "zipkin"}, {**ENDPOINT, f"{OTLP}PROTOCOL": "grpc"}])
def test_a_bad_value_is_rejected_by_name(bad: dict[str, str]) -> None:
    name = [*bad][-1]
    with pytest.raises(SettingsError, match=f"^{name} must be .* Example: {name}=") as error:
        add_variables(bad, Path("/nowhere"))
    assert bad[name] not in str(error.value)


def test_without_the_extra_a_line_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(f"{OTLP}ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)  # as if it were not installed
    assert open_traces(has_statements=False) == (None, ())
    assert caplog.messages == ["there are no traces without the extra: pip install 'hextasks[otel]'"]


def test_variables_in_the_file_are_added_to_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTEL_SERVICE_NAME=in the file\nOTEL_TRACES_SAMPLER=always_on\nPORT=8000\n")
    environment = {"OTEL_SERVICE_NAME": "outside"}
    add_variables(environment, tmp_path / ".env")
    assert environment == {"OTEL_SERVICE_NAME": "outside", "OTEL_TRACES_SAMPLER": "always_on"}


def test_no_variable_of_opentelemetry_is_a_misspelt_setting() -> None:
    found = importlib.util.find_spec("opentelemetry")
    assert found
    assert found.submodule_search_locations
    (folder,) = map(Path, found.submodule_search_locations)
    names = {
        node.value
        for path in (folder / "environment_variables", folder / "sdk" / "environment_variables")
        for node in ast.walk(ast.parse((path / "__init__.py").read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("OTEL_")
    }
    assert len(names) > 60
    assert [*misspelt_names(names, Settings.names())] == []


@pytest.mark.parametrize("flags", ["00", "01", "ff"])
def test_a_traceparent_names_a_span(flags: str) -> None:
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    assert parse_traceparent(f"00-{trace_id}-{span_id}-{flags}".encode()) == (trace_id, span_id, int(flags, 16))


def test_the_example_of_the_guide_asks_for_traces(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs/guides/monitoring.md").read_text()
    (block,) = re.findall(r"^```ini\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)
    (tmp_path / ".env").write_text(block)
    environment: dict[str, str] = {}
    add_variables(environment, tmp_path / ".env")
    assert (exporter_kind(environment), len(environment)) == ("otlp", 3)
