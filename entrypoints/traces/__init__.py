"""Traces: spans of requests and of their statements, exported by OpenTelemetry. Needs the `otel` extra.

Off, unless OpenTelemetry's own variables name an exporter. While they are off, no module beside this one is loaded.
"""

import logging
import os
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from entrypoints.environment import read_dotenv
from entrypoints.settings import Settings, SettingsError

if TYPE_CHECKING:
    from adapters.postgres import StatementObserver
    from entrypoints.traces.requests import Traces

_log = logging.getLogger("hextasks.traces")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"

INSTALL_EXTRA = "pip install 'hextasks[otel]'"

ExporterKind = Literal["otlp", "console"]


def open_traces(*, has_statements: bool) -> "tuple[Traces | None, tuple[StatementObserver, ...]]":
    """Return what traces requests and, if there are any, statements, if the environment asks for it.

    Raises SettingsError.
    """
    kind = exporter_kind(os.environ)
    if kind is None:
        return None, ()
    if not has_extra():
        _log.warning("there are no traces without the extra: %s", INSTALL_EXTRA)
        return None, ()
    from entrypoints.traces.export import make_processor
    from entrypoints.traces.recorder import Recorder
    from entrypoints.traces.requests import Traces

    recorder = Recorder(make_processor(kind))
    if not has_statements:
        return Traces(recorder, ContextVar("callers", default=())), ()
    from adapters.postgres.callers import CALLERS
    from entrypoints.traces.statements import StatementTraces

    return Traces(recorder, CALLERS), (StatementTraces(recorder),)


def has_extra() -> bool:
    """Return whether the `otel` extra is installed."""
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def add_variables(environment: MutableMapping[str, str], dotenv: Path) -> ExporterKind | None:
    """Add OpenTelemetry's variables in a file to an environment, whose own take precedence; return where spans go.

    Raises SettingsError.
    """
    for name, value in read_dotenv(dotenv, Settings.names()).items():
        if name.startswith("OTEL_"):
            environment.setdefault(name, value)
    return exporter_kind(environment)


def exporter_kind(environment: Mapping[str, str]) -> ExporterKind | None:
    """Return where spans go according to OpenTelemetry's variables; None: nowhere. Raises SettingsError.

    An exporter has to be named, by its kind or by its endpoint: there is no default.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    has_endpoint = any(environment.get(name) for name in _ENDPOINTS)
    kind = environment.get("OTEL_TRACES_EXPORTER") or ("otlp" if has_endpoint else "none")
    if kind == "none":
        return None
    if kind == "console":
        return "console"
    if kind != "otlp":
        name = "OTEL_TRACES_EXPORTER"
        raise SettingsError(f"{name} must be otlp, console or none. Example: {name}=otlp", name)
    for name in _PROTOCOLS:
        if protocol := environment.get(name):
            if protocol != _PROTOCOL:
                raise SettingsError(f"{name} must be {_PROTOCOL}. Example: {name}={_PROTOCOL}", name)
            break
    return "otlp"
