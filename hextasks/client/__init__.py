"""A typed, asynchronous client of the task service. Needs the `client` extra.

    async with TasksClient("https://tasks.example.com", token=access_token) as client:
        ada = client.of("ada")
        written = await ada.create("Buy milk")
        async for task in ada.all(completed=False):
            print(task.title)

Tasks, removals, and the operations of a batch are those of `hextasks`.
"""

from hextasks.client.messages import BatchResult, ChangePage, Health, TaskPage, Written
from hextasks.client.problems import ApiProblem, InputError, NoResponse, Problem
from hextasks.client.stream import ChangeEvent, Event, Resync
from hextasks.client.tasks import TasksClient, UserTasksClient
from hextasks.client.transport import Token

__all__ = [
    "ApiProblem",
    "BatchResult",
    "ChangeEvent",
    "ChangePage",
    "Event",
    "Health",
    "InputError",
    "NoResponse",
    "Problem",
    "Resync",
    "TaskPage",
    "TasksClient",
    "Token",
    "UserTasksClient",
    "Written",
]
