"""Every metric of the service: its name, kind, labels and meaning.

Names and buckets are those of OpenTelemetry's stable conventions where these have the metric, as Prometheus spells
them; names of our own begin with `hextasks_`. Values of labels are from bounded sets, and name no user and no task.
"""

from dataclasses import dataclass
from typing import Literal

Labels = tuple[str, ...]
"""The values of a metric's labels, in their order. An empty one stands for no label."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metric:
    """One metric. Its values are numbers of one process; `total` tells how those of several are added up."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """The upper bounds, without infinity, of a histogram."""
    total: Literal["sum", "min", "max"] = "sum"

    @property
    def size(self) -> int:
        """How many numbers a series has: of a histogram one for each bucket, that of infinity included, and the sum."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1


REQUEST_DURATION = Metric(
    name="http_server_request_duration_seconds",
    kind="histogram",
    help="Time from the arrival of a complete request to the end of its response, which for a stream is its end. "
    "Without http_route, no resource has the path; error_type is the problem code of a 5xx.",
    labels=("http_request_method", "url_scheme", "http_route", "http_response_status_code", "error_type"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
ACTIVE_REQUESTS = Metric(
    name="http_server_active_requests",
    kind="gauge",
    help="Requests in progress, without health probes and open streams.",
)
REQUEST_LIMIT = Metric(
    name="hextasks_active_requests_limit",
    kind="gauge",
    help="Requests that may be in progress: MAX_CONCURRENT_REQUESTS of each process.",
)
REQUESTS_REJECTED = Metric(
    name="hextasks_requests_rejected_total",
    kind="counter",
    help="Requests that were rejected to protect the capacity, by problem code.",
    labels=("code",),
)
ACCESS_REJECTED = Metric(
    name="hextasks_access_rejected_total",
    kind="counter",
    help="Requests without a valid token, or to the path of another user; reason is that of the log.",
    labels=("code", "reason"),
)
REPLAYS = Metric(
    name="hextasks_idempotent_replays_total",
    kind="counter",
    help="Retries with an Idempotency-Key that got the first response again.",
)
CONNECTIONS = Metric(name="hextasks_connections", kind="gauge", help="Open connections of clients.", labels=("port",))
CONNECTION_LIMIT = Metric(
    name="hextasks_connections_limit",
    kind="gauge",
    help="Connections that may be open, according to the limit of open files.",
    labels=("port",),
)
CONNECTIONS_CLOSED = Metric(
    name="hextasks_connections_closed_total",
    kind="counter",
    help="Connections that were closed because more than the limit were open.",
    labels=("port",),
)
STREAMS = Metric(name="hextasks_streams", kind="gauge", help="Open event streams.")
STREAM_LIMIT = Metric(
    name="hextasks_streams_limit", kind="gauge", help="Event streams that may be open: MAX_STREAMS of each process."
)
FEED_LAG = Metric(
    name="hextasks_feed_lag_seconds",
    kind="gauge",
    help="Time since the last successful poll for changes began; what was committed before that has been seen. "
    "At most one poll interval, 0.5 s, and a statement while all is well; 0 without open streams.",
    total="max",
)
STATEMENT_DURATION = Metric(
    name="db_client_operation_duration_seconds",
    kind="histogram",
    help="Time of a statement, the wait for a connection included. db_query_summary is the statement's name, "
    "error_type the class of the driver's error.",
    labels=("db_system_name", "db_query_summary", "error_type"),
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0),
)
_POOL = "db_client_connection_pool_name"
POOL_CONNECTIONS = Metric(
    name="db_client_connection_count",
    kind="gauge",
    help="Connections to the database, those that are being opened included.",
    labels=(_POOL, "db_client_connection_state"),
)
POOL_PENDING = Metric(
    name="db_client_connection_pending_requests",
    kind="gauge",
    help="Statements that wait for a connection.",
    labels=(_POOL,),
)
POOL_MAX = Metric(
    name="db_client_connection_max",
    kind="gauge",
    help="Connections that may be open: DATABASE_POOL_SIZE and DATABASE_MAX_OVERFLOW of each process.",
    labels=(_POOL,),
)
SHARED_STATEMENTS = Metric(
    name="hextasks_shared_statements_total",
    kind="counter",
    help="Statements that concurrent calls may share.",
    labels=("kind",),
)
SHARED_CALLS = Metric(
    name="hextasks_shared_calls_total",
    kind="counter",
    help="Calls that were carried out by these statements.",
    labels=("kind",),
)
LOG_LINES_DROPPED = Metric(
    name="hextasks_log_lines_dropped_total",
    kind="counter",
    help="Log lines that were dropped because their reader stalled.",
)
PROCESSES = Metric(name="hextasks_processes", kind="gauge", help="Server processes.")
BUILD_INFO = Metric(
    name="hextasks_build_info",
    kind="gauge",
    help="1, with the versions of the service and of Python.",
    labels=("version", "python_version"),
    total="max",
)
START_TIME = Metric(
    name="process_start_time_seconds",
    kind="gauge",
    help="Start of the server process, of several the first, in seconds since 1970.",
    total="min",
)
CPU_SECONDS = Metric(
    name="process_cpu_seconds_total", kind="counter", help="Processor time of the server processes, user and system."
)
RESIDENT_MEMORY = Metric(
    name="process_resident_memory_bytes", kind="gauge", help="Resident memory of the server processes."
)
OPEN_FILES = Metric(name="process_open_fds", kind="gauge", help="Open file descriptors of the server processes.")
FILE_LIMIT = Metric(
    name="process_max_fds", kind="gauge", help="File descriptors that each server process may open.", total="min"
)

METRICS = {metric.name: metric for metric in tuple(globals().values()) if isinstance(metric, Metric)}
"""All of them by name, in the order of the exposition."""
