"""`python -m tests.benchmarks`: hextasks beside other stacks, in large tables, under many clients, and as a library."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.benchmarks import contenders, report
from tests.benchmarks.batches import batch_costs
from tests.benchmarks.comparison import Comparison, Plan, Result
from tests.benchmarks.contenders import ROOT, TOOLS, Contender
from tests.benchmarks.delivery import deliveries
from tests.benchmarks.flat import flatness
from tests.benchmarks.library import import_milliseconds, memory_flatness, use_cases_beside_a_dict
from tests.benchmarks.listeners import beside_load
from tests.benchmarks.load import require_wrk
from tests.benchmarks.many import crowds, start_seconds
from tests.benchmarks.postgres import Postgres, running_postgres
from tests.benchmarks.processes import LOAD_CORES, raise_priority
from tests.benchmarks.workload import Operation

MAKERS = {
    "hextasks": contenders.hextasks,
    contenders.WITHOUT_METRICS: contenders.without_metrics,
    "usual": contenders.usual_stack,
    "limit": contenders.limit,
    "fastify": contenders.fastify,
}
NAMES = (*MAKERS, "database")
SECTIONS = ("compare", "batches", "flat", "many", "listeners", "library")


class Benchmarks:
    """The sections that are asked for, each of which adds to the report."""

    def __init__(self, arguments: argparse.Namespace, postgres: Postgres, folder: Path) -> None:
        """Work in a folder."""
        self._arguments = arguments
        self._postgres = postgres
        self._folder = folder
        version = postgres.execute("postgres", "SELECT current_setting('server_version')")
        self._report = [report.method(version, arguments.nice)]
        self._ours = [contenders.hextasks()] if "hextasks" in arguments.contenders else []
        self._ours += arguments.also
        self._results: list[Result] = []
        self._others: dict[str, object] = {}

    def run(self) -> None:
        """Measure, print and save."""
        for section in self._arguments.sections:
            try:
                getattr(self, f"_{section}")()
            except RuntimeError as error:
                self._add(f"FAILED: {section}", str(error))
        report.save(self._arguments.output, self._report, self._results, **self._others)
        print(f"\nsaved in {self._arguments.output}")

    def _add(self, title: str, text: str) -> None:
        self._report += [f"## {title}", text]
        print(f"\n{title}\n\n{text}", flush=True)

    def _compare(self) -> None:
        arguments = self._arguments
        plan = Plan(
            contenders=[*self._ours, *(MAKERS[name]() for name in arguments.contenders if name in NAMES[1:-1])],
            with_database="database" in arguments.contenders,
            operations=[Operation(name) for name in arguments.only],
            clients=arguments.clients,
            rounds=arguments.rounds,
            seconds=arguments.seconds,
            warm_up_seconds=0.2 if arguments.quick else 0.5,
        )
        for result in Comparison(plan, self._postgres, self._folder).run():
            self._results.append(result)
            print(f"{result.clients} clients, {result.operation}, {result.contender}: {result}", flush=True)
        self._add("Side by side", report.comparison_table(self._results))
        if crowding := report.crowding_table(self._results):
            self._add("What more clients wait", crowding)
        if costs := report.metrics_table(self._results):
            self._add("What metrics cost", costs)
        if failed := report.failures(self._results):
            self._add("Failed", "\n".join(failed))

    def _batches(self) -> None:
        rounds, requests = (3, 300) if self._arguments.quick else (9, 1000)
        for contender in self._ours:
            found = batch_costs(contender, self._postgres, self._folder, rounds=rounds, requests=requests)
            self._add(f"Many tasks in one request, {contender.name}", report.batch_table(*found))
            self._others[f"batches {contender.name}"] = found

    def _flat(self) -> None:
        rows, calls = (200_000, 100) if self._arguments.quick else (10_000_000, 500)
        for contender in self._ours:
            found, loading = flatness(contender, self._postgres, self._folder, rows=rows, calls=calls)
            title = f"A user with {rows // 10:,} of {rows:,} tasks, {contender.name} (loaded in {loading:.0f} s)"
            self._add(title, report.flatness_table(found))
            self._others[f"flat {contender.name}"] = found

    def _many(self) -> None:
        quick = self._arguments.quick
        for contender in self._ours:
            found = crowds(
                contender,
                self._postgres,
                self._folder,
                processes=(1, 2) if quick else (1, 2, 4),
                clients=(10, 1000) if quick else (10, 100, 1000),
                seconds=1.0 if quick else 5.0,
            )
            self._add(f"Processes and clients, {contender.name}", report.crowd_table(found))
            ready = start_seconds(contender, self._postgres, self._folder, starts=2 if quick else 5)
            self._add(f"Start to ready, {contender.name}", f"{ready:.2f} s")
            self._others[f"many {contender.name}"] = {"crowds": found, "start_seconds": ready}

    def _listeners(self) -> None:
        quick = self._arguments.quick
        for contender in self._ours:
            found = beside_load(
                contender,
                self._postgres,
                self._folder,
                listeners=200 if quick else 2000,
                rounds=self._arguments.rounds,
                seconds=1.0 if quick else 5.0,
            )
            self._add(f"Event streams beside load, {contender.name}", report.listener_table(found))
            delivered = deliveries(contender, self._postgres, self._folder, writes=20 if quick else 100)
            self._add(f"From a write to its event, {contender.name}", report.delivery_table(delivered))
            self._others[f"listeners {contender.name}"] = {"beside_load": found, "deliveries": delivered}

    def _library(self) -> None:
        tasks = 10_000 if self._arguments.quick else 100_000
        imported, stories, flat = import_milliseconds(), use_cases_beside_a_dict(), memory_flatness(tasks)
        self._add("Import of `application`", f"{imported:.0f} ms")
        self._add("The use-cases on the memory adapter, beside a dict of dataclasses", report.story_table(stories))
        self._add(f"A user with {tasks:,} tasks in the memory adapter", report.flatness_table(flat))
        self._others["library"] = {"import_milliseconds": imported, "stories": stories, "flat": flat}


def main() -> None:
    """Measure what the arguments ask for."""
    arguments = _arguments()
    require_wrk()
    os.sched_setaffinity(0, LOAD_CORES)
    if arguments.nice:
        raise_priority(arguments.nice)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    began = time.monotonic()
    with running_postgres() as postgres, tempfile.TemporaryDirectory(prefix="hextasks-bench-") as folder:
        Benchmarks(arguments, postgres, Path(folder)).run()
    print(f"took {time.monotonic() - began:.0f} s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, within two minutes")
    parser.add_argument(
        "--sections", type=_some_of(SECTIONS), help=f"of {','.join(SECTIONS)}; all unless operations are chosen"
    )
    parser.add_argument("--only", type=_some_of(Operation), help=f"operations, of {','.join(Operation)}")
    parser.add_argument("--contenders", type=_some_of(NAMES), help=f"of {','.join(NAMES)}")
    parser.add_argument("--also", type=_also, action="append", default=[], help="NAME=CHECKOUT that has a .venv")
    parser.add_argument("--clients", type=lambda text: [int(word) for word in text.split(",")], help="as 16,64")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each window")
    parser.add_argument("--nice", type=int, default=0, help="as -15: priority over what else runs here; for root only")
    parser.add_argument("--output", type=Path, help="folder; docs/benchmarks, or .bench/results if not all is measured")
    given = parser.parse_args()
    chosen = given.only or given.contenders or given.clients
    given.sections = given.sections or (["compare"] if chosen else list(SECTIONS))
    is_part = given.quick or chosen or given.sections != [*SECTIONS]
    given.output = given.output or (TOOLS / "results" if is_part else ROOT / "docs" / "benchmarks")
    given.only = given.only or list(Operation)
    left_out = {contenders.WITHOUT_METRICS, "fastify"} if given.quick else set()
    if shutil.which("npm") is None:
        left_out.add("fastify")
    given.contenders = given.contenders or [name for name in NAMES if name not in left_out]
    given.clients = given.clients or ([16] if given.quick else [16, 64])
    given.rounds = given.rounds or (1 if given.quick else 3)
    given.seconds = given.seconds or (0.5 if given.quick else 3.0)
    return given


def _some_of(choices: Iterable[str]) -> Callable[[str], list[str]]:
    def words(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := set(chosen) - set(choices):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
        return chosen

    return words


def _also(text: str) -> Contender:
    name, _, checkout = text.partition("=")
    return contenders.hextasks(name, Path(checkout).resolve())


if __name__ == "__main__":
    main()
