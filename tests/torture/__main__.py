"""The scenarios in full: `python -m tests.torture [kill …] [--rounds 20] [--minutes 10] [--coalescing user]`.

Prints a table at the end, and exits with 1 when a promise was broken.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import get_args

from adapters.postgres import Coalescing
from entrypoints.settings import Settings
from tests.torture.disconnects import disconnects
from tests.torture.failover import failover
from tests.torture.hostile import hostile
from tests.torture.imports import imports
from tests.torture.kill import kills
from tests.torture.migration import migration
from tests.torture.outages import outages
from tests.torture.overload import overload
from tests.torture.postgres import OwnPostgres, own_postgres
from tests.torture.proxy import HAPROXY, MISSING
from tests.torture.replicas import replicas
from tests.torture.report import Finding, table
from tests.torture.retries import retries
from tests.torture.rolling import rolling
from tests.torture.service import COALESCING
from tests.torture.soak import soak
from tests.torture.stop import stop

Scenario = Callable[[Path, OwnPostgres, argparse.Namespace], Awaitable[list[Finding]]]
SCENARIOS: dict[str, Scenario] = {
    "kill": lambda folder, postgres, size: kills(folder, postgres, rounds=size.rounds, seconds=1.5),
    "imports": lambda folder, postgres, size: imports(folder, postgres, rounds=max(3, size.few), count=50_000),
    "outages": lambda folder, postgres, size: outages(folder, postgres, rounds=size.few, seconds=4.0),
    "failover": lambda folder, _, size: failover(folder, rounds=size.few),
    "disconnects": lambda folder, postgres, size: disconnects(folder, postgres, rounds=size.few, clients=50),
    "overload": lambda folder, postgres, _: overload(
        folder, postgres, limit=Settings().max_concurrent_requests, seconds=10.0, is_strict=True
    ),
    "hostile": lambda folder, postgres, _: hostile(folder, postgres, seconds=20.0, connections=300, is_strict=True),
    "retries": lambda folder, postgres, size: retries(folder, postgres, rounds=size.rounds),
    "replicas": lambda folder, postgres, _: replicas(folder, postgres, seconds=60.0, pause=2.0),
    "stop": lambda folder, postgres, size: stop(folder, postgres, rounds=size.few),
    "migration": lambda folder, postgres, _: migration(folder, postgres, seconds=10.0),
    "rolling": lambda folder, postgres, size: rolling(folder, postgres, rounds=size.few),
    "soak": lambda folder, postgres, size: soak(folder, postgres, minutes=size.minutes),
}


PROXIED = {"rolling", "soak"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description="The fault and load scenarios.")
    parser.add_argument("names", nargs="*", metavar="scenario", help=f"of {', '.join(SCENARIOS)}; by default all")
    parser.add_argument(
        "--rounds", type=int, default=20, help="how many times to kill; other faults occur a fifth as often"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="duration of the soak")
    parser.add_argument(
        "--coalescing", choices=get_args(Coalescing), default="all", help="whose calls share statements"
    )
    size = parser.parse_args()
    os.environ[COALESCING] = size.coalescing
    size.few = max(1, size.rounds // 5)
    if unknown := set(size.names) - set(SCENARIOS):
        parser.error(f"there is no scenario {', '.join(unknown)}")
    names = size.names or [*SCENARIOS]
    if not HAPROXY and (left_out := PROXIED & {*names}):
        print(f"{', '.join(sorted(left_out))} left out: each {MISSING}", file=sys.stderr)
        names = [name for name in names if name not in PROXIED]
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory() as folder, own_postgres() as postgres:
        for name in names:
            began = time.monotonic()
            print(f"{name} …", end=" ", file=sys.stderr, flush=True)
            postgres.start()
            findings += asyncio.run(_run(name, Path(folder), postgres, size))
            print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(table(findings))
    return int(not findings or not all(finding.kept for finding in findings))


async def _run(name: str, folder: Path, postgres: OwnPostgres, size: argparse.Namespace) -> list[Finding]:
    try:
        return await SCENARIOS[name](folder, postgres, size)
    except Exception as error:  # the other scenarios still run, and the table has this one
        traceback.print_exc()
        return [Finding(scenario=name, done="did not finish", measured=repr(error), bound="", kept=False)]


if __name__ == "__main__":
    sys.exit(main())
