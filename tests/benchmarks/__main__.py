"""`python -m tests.benchmarks`: hextasks beside the usual stack, the limit and the database."""

import argparse
import shutil
import tempfile
from pathlib import Path

from tests.benchmarks import contenders
from tests.benchmarks.comparison import Comparison, Plan, Result
from tests.benchmarks.contenders import TOOLS, Contender
from tests.benchmarks.load import require_wrk
from tests.benchmarks.postgres import running_postgres
from tests.benchmarks.report import as_json, comparison_table, save
from tests.benchmarks.workload import Operation

MAKERS = {
    "hextasks": contenders.hextasks,
    "usual": contenders.usual_stack,
    "limit": contenders.limit,
    "fastify": contenders.fastify,
}
NAMES = (*MAKERS, "database")


def main() -> None:
    """Measure what the arguments ask for."""
    arguments = _arguments()
    require_wrk()
    plan = Plan(
        contenders=[MAKERS[name]() for name in arguments.contenders if name in MAKERS] + arguments.also,
        with_database="database" in arguments.contenders,
        operations=[Operation(name) for name in arguments.only],
        clients=arguments.clients,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        warm_up_seconds=0.3 if arguments.quick else 1.0,
    )
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    with running_postgres() as postgres, tempfile.TemporaryDirectory(prefix="hextasks-bench-") as folder:
        results: list[Result] = []
        for result in Comparison(plan, postgres, Path(folder)).run():
            results.append(result)
            figures = result.figures
            said = (
                f"{figures.requests_per_second:,.0f}/s {figures.service_microseconds:.0f} µs" if figures else "FAILED"
            )
            print(f"{result.clients} clients, {result.operation}: {result.contender} {said}", flush=True)
    print(comparison_table(results))
    save(output / "results.json", comparison=as_json(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    words = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--quick", action="store_true", help="less of everything, within two minutes")
    parser.add_argument("--only", type=words, default=list(Operation), help="operations: get,list,create,…")
    parser.add_argument("--clients", type=lambda text: [int(word) for word in text.split(",")])
    parser.add_argument("--contenders", type=words, help=",".join(NAMES))
    parser.add_argument("--also", type=_also, action="append", default=[], help="NAME=CHECKOUT with a .venv")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each window")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    quick = arguments.quick
    arguments.clients = arguments.clients or ([16] if quick else [16, 64])
    if not arguments.contenders:
        skipped = "fastify" if quick or shutil.which("npm") is None else None
        arguments.contenders = [name for name in NAMES if name != skipped]
    arguments.rounds = arguments.rounds or (1 if quick else 5)
    arguments.seconds = arguments.seconds or (1.0 if quick else 3.0)
    arguments.output = arguments.output or TOOLS / "results"
    return arguments


def _also(text: str) -> Contender:
    name, _, checkout = text.partition("=")
    return contenders.hextasks(name, Path(checkout).resolve())


if __name__ == "__main__":
    main()
