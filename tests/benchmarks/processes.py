"""Processes that are measured: pinned, with their processor time and memory, children included."""

import os
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_CORES = sorted(os.sched_getaffinity(0))
ALL_CORES = tuple(_CORES)
SERVICE_CORES = (_CORES[0],)
"""The service has one core to itself."""
LOAD_CORES = tuple(_CORES[1:]) or SERVICE_CORES
"""PostgreSQL and the load generator share the others."""

_TICKS = os.sysconf("SC_CLK_TCK")


def pinned(cores: Iterable[int], *command: str) -> list[str]:
    """Return a command that runs on some cores only."""
    return ["taskset", "-c", ",".join(map(str, cores)), *command]


def raise_priority(nice: int) -> None:
    """Give this process and those it will start another priority.

    Where Linux groups processes by terminal session, priority counts within the group only, so the group gets it too.
    """
    os.nice(nice)
    group = Path("/proc/self/autogroup")
    if group.exists():
        group.write_text(str(nice))


def run(command: Sequence[str], *, cwd: Path | str, **settings: Any) -> None:
    """Run a command to its end. Raises RuntimeError with what it said when it fails."""
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **settings)
    if ended.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {ended.stderr[-2000:] or ended.stdout[-2000:]}")


def process_tree(root: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            children.setdefault(int(_state(int(folder.name))[1]), []).append(int(folder.name))
    tree = [root]
    for pid in tree:  # grows while it is walked
        tree += children.get(pid, [])
    return tree


def are_idle(pids: Iterable[int]) -> bool:
    """Return whether none of some processes has anything to do."""
    return all(_state(pid)[0] == "S" for pid in pids)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time, user and system, that processes and the children they waited for have used."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            total += sum(map(int, _state(pid)[11:15]))
    return total / _TICKS


def _state(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on."""
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()


def memory_bytes(pids: Iterable[int]) -> int:
    """Return the proportional set size of processes: memory that several share is counted once."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total
