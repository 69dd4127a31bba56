"""What was acknowledged to one user, and therefore must be stored."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from tests.torture.client import Json
from tests.torture.postgres import OwnPostgres

DELETE: Json = {}
"""Stands for a deletion, where other writes are their bodies."""


class Ledger:
    """Every acknowledged state of every task of one user, and every write whose outcome is unknown.

    Several connections may write to the same task: its versions give the order.
    """

    def __init__(self, user: str) -> None:
        self.user = user
        self.acknowledged: dict[str, dict[int, Json]] = defaultdict(dict)
        self.writable: list[str] = []
        """Tasks for which no deletion was requested."""
        self.removed: set[str] = set()
        self.unknown: dict[str, list[Json]] = defaultdict(list)
        """Writes that were neither acknowledged nor refused, by task; those of the task "" are creations."""
        self.wrong: list[str] = []

    def newest(self, key: str) -> int:
        """Return the last acknowledged version."""
        return max(self.acknowledged[key], default=0)

    def acknowledge(self, task: Json, *, at_least: int = 0) -> None:
        """Record a state in an answer; `at_least` is the last version acknowledged before the request."""
        if task["id"] not in self.acknowledged:
            self.writable.append(task["id"])
        known = self.acknowledged[task["id"]].setdefault(task["version"], task)
        if known != task:
            self.wrong.append(f"two states of one version: {known} {task}")
        if task["version"] < at_least:
            self.wrong.append(f"older than version {at_least}, acknowledged before: {task}")

    def not_found(self, key: str) -> None:
        """Record that a task was not found."""
        if key in self.writable:
            self.wrong.append(f"lost: {key}")

    def check(self, stored: list[Json], *, unknown_may_be_stored: bool = True) -> list[str]:
        """Return the faults of what is stored, a line for each."""
        by_id = {task["id"]: task for task in stored}
        wrong = list(self.wrong)
        if len(by_id) != len(stored):
            wrong.append("listed twice")
        titles = Counter(task["title"] for task in stored)
        wrong += [f"stored twice: {title}" for title, count in titles.items() if count > 1]
        for key in self.acknowledged:
            unknown = self.unknown[key] if unknown_may_be_stored else []
            if fault := self._fault(key, by_id.get(key), unknown):
                wrong.append(
                    f"{fault}: {key}, acknowledged {self.acknowledged[key]}, unknown {unknown}, stored {by_id.get(key)}"
                )
        created = {write["title"] for write in self.unknown[""]} if unknown_may_be_stored else set()
        wrong += [
            f"not written: {task}"
            for key, task in by_id.items()
            if key not in self.acknowledged and task["title"] not in created
        ]
        wrong += [
            f"inconsistent: {task}" for task in stored if task["is_completed"] != (task["completed_at"] is not None)
        ]
        return wrong

    def _fault(self, key: str, stored: Json | None, unknown: list[Json]) -> str:
        if stored is None:
            return "" if key in self.removed or DELETE in unknown else "lost"
        if key in self.removed:
            return "deleted but stored"
        last = self.acknowledged[key][self.newest(key)]
        if stored == last:
            return ""
        if stored["version"] <= last["version"] or not unknown:
            return "acknowledged write lost" if stored["version"] < last["version"] else "changed without a write"
        titles = {last["title"], *(write["title"] for write in unknown if "title" in write)}
        states = {last["is_completed"], *(write["is_completed"] for write in unknown if "is_completed" in write)}
        whole = stored["title"] in titles and stored["is_completed"] in states
        return "" if whole else "half-done write"


NUMBERS = """
WITH numbers AS (
    SELECT user_id, version FROM tasks UNION ALL SELECT user_id, version FROM task_tombstones
)
SELECT 'version used twice: ' || user_id || ' ' || version FROM numbers GROUP BY user_id, version HAVING count(*) > 1
UNION ALL
SELECT 'counter behind: ' || user_id FROM numbers LEFT JOIN task_counters USING (user_id)
GROUP BY user_id, value HAVING value IS NULL OR value < max(version)
UNION ALL
SELECT 'stored and deleted: ' || id FROM tasks JOIN task_tombstones ON task_id = id
"""


async def wrong_numbers(postgres: OwnPostgres, database: str, ledgers: Mapping[str, Ledger]) -> list[str]:
    """Return the faults in the versions of all users, and in the tombstones of these."""
    async with postgres.admin(database) as admin:
        wrong = [row[0] for row in await admin.fetch(NUMBERS)]
        stones = Counter((row["user_id"], str(row["task_id"])) for row in await admin.fetch("TABLE task_tombstones"))
    for user, ledger in ledgers.items():
        wrong += [f"deleted without a tombstone: {key}" for key in ledger.removed if stones[user, key] != 1]
    return wrong
