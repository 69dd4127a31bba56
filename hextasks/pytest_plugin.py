"""The pytest plugin, which pytest finds by itself. It loads hextasks when a test uses one of its fixtures.

| fixture | what it is |
| --- | --- |
| `hextasks_tasks` | the use-cases on a new repository in memory, with the clock and the ids of the test |
| `hextasks_clock`, `hextasks_ids` | a clock to set and step, ids in sequence |
| `hextasks_build` | builders of drafts, tasks and filled lists |
| `hextasks_repository` | the repository of the test; override it to use another |
| `hextasks_client` | an authenticated HTTP client of the API in this process, over the same tasks |
| `hextasks_token` | makes signed tokens |
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hextasks import TaskRepository, Tasks
    from hextasks.testing import Builder, ManualClock, SequentialIds
    from hextasks.testing.http import InProcessClient, InProcessService

pytest.register_assert_rewrite("hextasks.testing.contract")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of the repository contract."""
    config.addinivalue_line("markers", "hextasks_optional: part of the repository contract that adapters may leave out")


@pytest.fixture
def hextasks_clock() -> "ManualClock":
    """Return a clock that stands still until the test sets or steps it."""
    from hextasks.testing import ManualClock

    return ManualClock()


@pytest.fixture
def hextasks_ids() -> "SequentialIds":
    """Return ids in sequence."""
    from hextasks.testing import SequentialIds

    return SequentialIds()


@pytest.fixture
def hextasks_repository() -> "TaskRepository":
    """Return a repository in memory, without tasks. Override it to run `hextasks_tasks` on another."""
    from hextasks import MemoryTaskRepository

    return MemoryTaskRepository()


@pytest.fixture
def hextasks_tasks(
    hextasks_repository: "TaskRepository", hextasks_clock: "ManualClock", hextasks_ids: "SequentialIds"
) -> "Tasks":
    """Return the use-cases on `hextasks_repository`, with `hextasks_clock` and `hextasks_ids`."""
    from hextasks.testing import memory_tasks

    return memory_tasks(repository=hextasks_repository, clock=hextasks_clock, ids=hextasks_ids)


@pytest.fixture
def hextasks_build(hextasks_clock: "ManualClock", hextasks_ids: "SequentialIds") -> "Builder":
    """Return a builder of drafts, tasks and filled lists with `hextasks_clock` and `hextasks_ids`."""
    from hextasks.testing import Builder

    return Builder(hextasks_clock, hextasks_ids)


@pytest.fixture
def hextasks_token() -> Callable[..., str]:
    """Return the function `hextasks.testing.http.make_token`. Needs the `http` extra."""
    from hextasks.testing.http import make_token

    return make_token


@pytest.fixture(scope="session")
def hextasks_app() -> "InProcessService":
    """Return the application, which all tests share, because making it takes 20 ms. Needs the `http` extra."""
    from hextasks.testing.http import InProcessService

    return InProcessService()


@pytest.fixture
def hextasks_client(
    hextasks_app: "InProcessService",
    hextasks_repository: "TaskRepository",
    hextasks_clock: "ManualClock",
    hextasks_ids: "SequentialIds",
) -> "InProcessClient":
    """Return an HTTP client of the user ada, for the tasks of `hextasks_tasks`. Needs the `http` extra."""
    hextasks_app.use(hextasks_repository, hextasks_clock, hextasks_ids)
    return hextasks_app.client()
