"""The database alone: pgbench with the statements of the limit."""

from collections import Counter
from math import ceil, nan
from pathlib import Path
from statistics import quantiles

from tests.benchmarks.contenders import create_migrated_database
from tests.benchmarks.load import Load
from tests.benchmarks.postgres import Postgres
from tests.benchmarks.processes import SERVICE_CORES, pinned, run
from tests.benchmarks.seeding import HEXTASKS
from tests.benchmarks.statements import STATEMENTS
from tests.benchmarks.workload import KEPT, USERS, Operation, Requests

# pgbench knows numbers only, so the parameters are made of them: n is the task, turn counts a client's transactions.
_TASK = "(('018f0000-0000-7000-8000-' || lpad(to_hex(:n::bigint), 12, '0'))::uuid)"
_NEW = "(('018f0001-0000-7000-8000-' || lpad(to_hex(:new::bigint), 12, '0'))::uuid)"
_TITLE, _NOW = "('Buy milk ' || :turn::bigint || '-' || :client_id)", "now()"
_ARGUMENTS = {
    Operation.GET: (_TASK,),
    Operation.LIST: ("51",),
    Operation.CREATE: (_NEW, _TITLE, _NOW),
    Operation.UPDATE: (_TASK, _TITLE, _NOW),
    Operation.COMPLETE: (_TASK, _NOW),
    Operation.DELETE: (_TASK, _NOW),
}


def _script(operation: Operation, run: int, clients: int) -> str:
    turn, first = ("spent", KEPT) if operation in (Operation.COMPLETE, Operation.DELETE) else ("turn", 0)
    lines = [f"\\set {turn} :{turn} + 1", f"\\set n :{turn} * {clients} + :client_id"]
    lines += ["\\set new :n"] if operation == Operation.CREATE else []
    lines += [f"\\set n {first} + :n" if first else f"\\set n :n % {KEPT}", f"\\set u :n % {USERS}"]
    sql = STATEMENTS[operation.value]
    for place, argument in enumerate((f"('bench-{run}-' || :u)", *_ARGUMENTS[operation]), start=1):
        sql = sql.replace(f"${place}", argument)
    return "\n".join((*lines, sql)) + ";\n"


class PgBench:
    """The contender that is the database."""

    name = "database"
    schema = HEXTASKS

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        """Work in a folder."""
        self._postgres = postgres
        self._folder = folder
        self.database = f"bench-{self.name}"
        self._turn = -1
        """The last turn that any client has taken, of those that number the tasks that it names."""
        create_migrated_database(postgres, self.database)

    def load(self, requests: Requests, file: Path, *, clients: int, seconds: float, sent: int) -> Load:
        """Have each of some connections execute one transaction after the other.

        A warm-up, before which nothing was sent, is 50 transactions each; else it goes on for whole seconds.
        """
        scripts = []
        for operation in dict.fromkeys(requests.operations):
            script = self._folder / f"{operation}.sql"
            script.write_text(_script(operation, requests.run, clients))
            scripts += ["-f", f"{script}@{requests.operations.count(operation)}"]
        for old in self._folder.glob("pgbench_log.*"):
            old.unlink()
        seconds = ceil(seconds)
        turn, lasting = (self._turn, ("-T", str(seconds))) if sent else (-1, ("-t", "50"))
        command = [str(self._postgres.binaries / "pgbench"), "-n", "-M", "prepared", "-c", str(clients)]
        command += [*lasting, "-h", "127.0.0.1", "-p", str(self._postgres.port), "-U", "postgres", "--log"]
        command += [*scripts, "-D", f"turn={turn}", "-D", f"spent={turn}", self.database]
        run(pinned(SERVICE_CORES, *command), cwd=self._folder)
        logs = [line.split() for file in self._folder.glob("pgbench_log.*") for line in file.open()]
        if len(logs) < 2:
            raise RuntimeError("pgbench finished no two transactions")
        self._turn = turn + max(Counter(fields[0] for fields in logs).values())
        times = sorted(int(fields[2]) / 1e6 for fields in logs)
        percentiles = quantiles(times, n=100)
        return Load(
            completed=len(times),
            rejected=0,
            broken=0,
            sent=len(times),
            seconds=seconds,
            p50=percentiles[49],
            p99=percentiles[98],
        )

    def is_idle(self) -> bool:
        """Return True: between loads there is no process."""
        return True

    def cpu_seconds(self) -> float:
        """Return not a number: there is no service."""
        return nan

    def memory_bytes(self) -> float:
        """Return not a number: there is no service."""
        return nan
