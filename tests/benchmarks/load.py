"""Load from wrk, which replays prepared requests and counts what comes back."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.processes import LOAD_CORES, pinned

SCRIPT = Path(__file__).with_name("requests.lua")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a load generator saw. Percentiles are in seconds; wrk corrects them for coordinated omission."""

    completed: int
    """Answers of any status."""
    rejected: int
    """Answers with a status of 400 or above."""
    broken: int
    """Connections refused or lost, and requests without an answer for ten seconds."""
    sent: int
    seconds: float
    p50: float
    p99: float
    is_exhausted: bool = False
    """Whether requests that may be sent only once ran out."""


def require_wrk() -> None:
    """End the program with a remedy when wrk is missing."""
    if shutil.which("wrk") is None:
        raise SystemExit("the load generator is missing: apt-get install wrk (or brew install wrk)")


def write_requests(file: Path, requests: Iterable[bytes]) -> Path:
    """Write requests for `run_wrk`."""
    file.write_bytes(b"\1".join(requests))
    return file


def run_wrk(
    port: int,
    requests: Path,
    *,
    clients: int,
    seconds: float,
    first: int = 0,
    cycle: bool,
    cores: Iterable[int] = LOAD_CORES,
) -> Load:
    """Send requests of a file, from the first-th on, on keep-alive connections, each as soon as the answer is there."""
    command = ["wrk", "-t", "1", "-c", str(clients), "-d", "1h", "--timeout", "10s", "-s", str(SCRIPT)]
    command += [f"http://127.0.0.1:{port}", "--", str(requests), str(first), "cycle" if cycle else "once"]
    command = pinned(cores, "stdbuf", "-oL", *command)  # by the line, so that its first two tell when it has begun
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as wrk:
        assert wrk.stdout
        begun = [wrk.stdout.readline() for _ in range(2)]
        time.sleep(seconds)
        wrk.send_signal(signal.SIGINT)  # its own -d knows whole seconds only
        try:
            output, errors = wrk.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            wrk.kill()
            raise
    if wrk.returncode != 0 or not output:
        raise RuntimeError(f"wrk failed: {errors or begun}")
    found = json.loads(output.splitlines()[-1])
    return Load(
        completed=found["completed"],
        rejected=found["rejected"],
        broken=found["broken"],
        sent=found["sent"],
        seconds=found["microseconds"] / 1e6,
        p50=found["p50"] / 1e6,
        p99=found["p99"] / 1e6,
        is_exhausted=bool(found["exhausted"]),
    )
