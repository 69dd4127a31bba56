"""The contract of the TaskRepository port for the states of all users."""

from datetime import UTC, datetime

from hextasks import State, TaskRepository
from hextasks.testing.contract.calls import LATER, a_task, add
from hextasks.testing.contract.case import RepositoryCase

USERS = ["grace", "ada", "Ada", "ada ", "a", "ä", "\U0001f600", "\uffff", "~", "zoë"]


async def pages(tasks: TaskRepository, limit: int) -> list[list[str]]:
    """Return the users of all pages."""
    found: list[list[str]] = []
    after = ""
    while page := await tasks.all_states(after=after, limit=limit):
        found.append([*page])
        after = found[-1][-1]
    return found


class UserContract(RepositoryCase):
    """The users whose tasks have ever changed, page by page."""

    async def test_each_user_who_has_written_comes_once_in_order_of_code_points(self, tasks: TaskRepository) -> None:
        assert await tasks.all_states(after="", limit=1000) == {}
        made = [await add(tasks, a_task(user_id=user)) for user in USERS]
        await tasks.remove("ada", made[1].id, removed_at=LATER)
        await tasks.get_many("reads only", [made[0].id])
        states = await tasks.all_states(after="", limit=1000)
        assert [*states] == sorted(USERS)
        assert states == await tasks.states(USERS)
        assert states["ada"].number == 2
        for limit in (1, 3, len(USERS)):
            found = await pages(tasks, limit)
            assert [user for page in found for user in page] == sorted(USERS)
            assert {len(page) for page in found[:-1]} <= {limit}
        assert [*await tasks.all_states(after="b", limit=2)] == ["grace", "zoë"]

    async def test_a_purge_changes_no_state(self, tasks: TaskRepository) -> None:
        task = await add(tasks, a_task())
        await tasks.remove("ada", task.id, removed_at=LATER)
        before = await tasks.all_states(after="", limit=2)
        end = datetime.max.replace(tzinfo=UTC)
        assert await tasks.purge(removed_before=end, keys_before=end, limit=10) == 1
        assert (
            await tasks.all_states(after="", limit=2) == before == {"ada": State(epoch=before["ada"].epoch, number=2)}
        )
