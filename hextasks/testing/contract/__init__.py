"""The contract of the TaskRepository port, as tests for any adapter. Needs the `testing` extra.

An adapter's author subclasses RepositoryContract in a test module, and provides the fixture `tasks`:

    class TestSqlite(RepositoryContract):
        @pytest.fixture
        def tasks(self, tmp_path):
            return SqliteTaskRepository(tmp_path / "tasks.db")

The adapter is finished when all tests pass. Each test gets a repository without tasks, in an event loop of
pytest-asyncio. Tests marked `hextasks_optional` are of what an adapter may leave out: implement
`RepositoryCase.set_epochs` for them. To run a part of the contract only, subclass that part.

The tests are stricter than the port in one point: no number may be left out, so that they can compare numbers.
"""

from hextasks.testing.contract.batches import BatchContract, KeyContract
from hextasks.testing.contract.case import RepositoryCase
from hextasks.testing.contract.changes import ChangeContract, PurgeContract, StateContract
from hextasks.testing.contract.concurrency import ConcurrencyContract
from hextasks.testing.contract.following import FollowerContract
from hextasks.testing.contract.histories import HistoryContract
from hextasks.testing.contract.lists import ListContract
from hextasks.testing.contract.moving import ForgetContract, MoveContract
from hextasks.testing.contract.races import RaceContract
from hextasks.testing.contract.search import SearchContract
from hextasks.testing.contract.single import TaskContract
from hextasks.testing.contract.users import UserContract

__all__ = [
    "BatchContract",
    "ChangeContract",
    "ConcurrencyContract",
    "FollowerContract",
    "ForgetContract",
    "HistoryContract",
    "KeyContract",
    "ListContract",
    "MoveContract",
    "PurgeContract",
    "RaceContract",
    "RepositoryCase",
    "RepositoryContract",
    "SearchContract",
    "ShortContract",
    "StateContract",
    "TaskContract",
    "UserContract",
]


class ShortContract(
    TaskContract,
    ListContract,
    SearchContract,
    StateContract,
    UserContract,
    PurgeContract,
    BatchContract,
    KeyContract,
    MoveContract,
    ForgetContract,
    RaceContract,
):
    """The part that takes seconds: a few calls in each test."""


class RepositoryContract(ShortContract, ChangeContract, ConcurrencyContract, FollowerContract, HistoryContract):
    """The whole contract."""
