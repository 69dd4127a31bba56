"""The use-cases of the task service, one per story, and the ports they need. Standard library only.

Every use-case is an object built from its ports and then awaited like a function:
`await CreateTask(tasks=..., clock=..., ids=...)(actor="ada", user_id="ada", draft=draft)`.
"""

from application.access import only_own_tasks
from application.create_task import CreateTask
from application.delete_task import DeleteTask
from application.errors import (
    ApplicationError,
    NotOwner,
    StorageUnavailable,
    TaskAlreadyExists,
    TaskContended,
    TaskNotFound,
    VersionConflict,
)
from application.get_task import GetTask
from application.list_tasks import ListTasks
from application.pages import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, InvalidPage, PageRequest, Position, TaskPage
from application.ports import Clock, TaskIds, TaskRepository
from application.update_task import CompleteTask, UpdateTask

__all__ = [
    "DEFAULT_PAGE_SIZE",
    "MAX_PAGE_SIZE",
    "ApplicationError",
    "Clock",
    "CompleteTask",
    "CreateTask",
    "DeleteTask",
    "GetTask",
    "InvalidPage",
    "ListTasks",
    "NotOwner",
    "PageRequest",
    "Position",
    "StorageUnavailable",
    "TaskAlreadyExists",
    "TaskContended",
    "TaskIds",
    "TaskNotFound",
    "TaskPage",
    "TaskRepository",
    "UpdateTask",
    "VersionConflict",
    "only_own_tasks",
]
