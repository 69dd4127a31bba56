"""What one user was told, and so what must be stored: the judge of every storm."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from tests.torture.client import Json
from tests.torture.postgres import OwnPostgres

DELETE: Json = {}
"""Stands for a deletion, where other writes are their bodies."""


class Ledger:
    """Every state of every task that the user was shown, and every write whose outcome the user does not know.

    Several connections may write to the same task: its versions tell the order.
    """

    def __init__(self, user: str) -> None:
        self.user = user
        self.told: dict[str, dict[int, Json]] = defaultdict(dict)
        self.writable: list[str] = []
        """Tasks that nobody has tried to delete."""
        self.removed: set[str] = set()
        self.unsure: dict[str, list[Json]] = defaultdict(list)
        """Writes of which nobody has said whether they were done, by task; those of unknown tasks are creations."""
        self.wrong: list[str] = []

    def newest(self, key: str) -> int:
        """Return the last version known."""
        return max(self.told[key], default=0)

    def tell(self, task: Json, *, at_least: int = 0) -> None:
        """Note a state that was shown, `at_least` being the last version known when it was asked for."""
        if task["id"] not in self.told:
            self.writable.append(task["id"])
        known = self.told[task["id"]].setdefault(task["version"], task)
        if known != task:
            self.wrong.append(f"one version, two contents: {known} {task}")
        if task["version"] < at_least:
            self.wrong.append(f"version {at_least} was forgotten: {task}")

    def missing(self, key: str) -> None:
        """Note that a task was not found."""
        if key in self.writable:
            self.wrong.append(f"lost meanwhile: {key}")

    def check(self, stored: list[Json], *, unsure_may_be_stored: bool = True) -> list[str]:
        """Return what is wrong with what is stored, a line for each fault."""
        by_id = {task["id"]: task for task in stored}
        wrong = list(self.wrong)
        if len(by_id) != len(stored):
            wrong.append("listed twice")
        titles = Counter(task["title"] for task in stored)
        wrong += [f"stored twice: {title}" for title, count in titles.items() if count > 1]
        for key in self.told:
            unsure = self.unsure[key] if unsure_may_be_stored else []
            if fault := self._fault(key, by_id.get(key), unsure):
                wrong.append(f"{fault}: {key}, told {self.told[key]}, unsure {unsure}, stored {by_id.get(key)}")
        created = {write["title"] for write in self.unsure[""]} if unsure_may_be_stored else set()
        wrong += [
            f"nobody wrote this: {task}"
            for key, task in by_id.items()
            if key not in self.told and task["title"] not in created
        ]
        wrong += [f"half done: {task}" for task in stored if task["is_completed"] != (task["completed_at"] is not None)]
        return wrong

    def _fault(self, key: str, stored: Json | None, unsure: list[Json]) -> str:
        if stored is None:
            return "" if key in self.removed or DELETE in unsure else "lost"
        if key in self.removed:
            return "it came back"
        last = self.told[key][self.newest(key)]
        if stored == last:
            return ""
        if stored["version"] <= last["version"] or not unsure:
            return "an acknowledged write is gone" if stored["version"] < last["version"] else "changed by nobody"
        titles = {last["title"], *(write["title"] for write in unsure if "title" in write)}
        states = {last["is_completed"], *(write["is_completed"] for write in unsure if "is_completed" in write)}
        whole = stored["title"] in titles and stored["is_completed"] in states
        return "" if whole else "a half-done write"


NUMBERS = """
WITH numbers AS (
    SELECT user_id, version FROM tasks UNION ALL SELECT user_id, version FROM task_tombstones
)
SELECT 'number given twice: ' || user_id || ' ' || version FROM numbers GROUP BY user_id, version HAVING count(*) > 1
UNION ALL
SELECT 'counter behind: ' || user_id FROM numbers LEFT JOIN task_counters USING (user_id)
GROUP BY user_id, value HAVING value IS NULL OR value < max(version)
UNION ALL
SELECT 'both there and deleted: ' || id FROM tasks JOIN task_tombstones ON task_id = id
"""


async def wrong_numbers(postgres: OwnPostgres, database: str, ledgers: Mapping[str, Ledger]) -> list[str]:
    """Return what is wrong with the numbers of all users, and with the tombstones of these."""
    async with postgres.admin(database) as admin:
        wrong = [row[0] for row in await admin.fetch(NUMBERS)]
        stones = Counter((row["user_id"], str(row["task_id"])) for row in await admin.fetch("TABLE task_tombstones"))
    for user, ledger in ledgers.items():
        wrong += [f"deleted without a trace: {key}" for key in ledger.removed if stones[user, key] != 1]
    return wrong
