"""Random histories of calls, compared with a model."""

import pytest

from hextasks import TaskRepository
from hextasks.testing.contract.case import RepositoryCase


class HistoryContract(RepositoryCase):
    """Random histories of calls. The profile of Hypothesis says how many and how long; without it they are skipped.

    The report of a failure shows the shortest history that was found, for which Hypothesis searches up to five minutes.
    """

    async def test_random_histories_have_the_results_of_the_model(self, tasks: TaskRepository) -> None:
        pytest.importorskip("hypothesis", reason="install hextasks[testing] for random histories")
        from hextasks.testing.contract.machine import compare
        from hextasks.testing.contract.stories import Histories

        await compare(Histories, self, tasks)
