"""The use-cases of the task service, one per story, and the ports they need. Standard library only.

Every use-case is an object built from its ports and then awaited like a function:
`await CreateTask(tasks=..., clock=..., ids=...)(actor="ada", user_id="ada", draft=draft)`.
"""

from application.access import only_own_tasks
from application.batch import (
    MAX_OPERATIONS,
    ApplyBatch,
    ChangeOperation,
    CreateOperation,
    DeleteOperation,
    InvalidBatch,
    Operation,
)
from application.changes import Change, ChangePage, Removal
from application.create_task import CreateTask
from application.delete_task import DeleteTask
from application.errors import (
    ApplicationError,
    IdempotencyKeyReused,
    IdempotencyKeyUsed,
    NotOwner,
    StateExpired,
    StateMismatch,
    StorageNotMigrated,
    StorageUnavailable,
    TaskAlreadyExists,
    TaskContended,
    TaskNotFound,
    VersionConflict,
)
from application.events import (
    Progress,
    SeenTask,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskEvent,
    TaskRenamed,
    TaskReopened,
)
from application.export_tasks import ExportTasks
from application.follow_changes import FollowChanges
from application.follow_events import FollowEvents
from application.forget_user import ForgetUser
from application.get_task import GetTask
from application.import_tasks import Imported, ImportTasks
from application.list_changes import ListChanges
from application.list_tasks import ListTasks
from application.pages import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    SEARCH_TEXT,
    InvalidPage,
    PageRequest,
    Position,
    TaskPage,
)
from application.ports import Clock, TaskIds, TaskRepository
from application.positions import PositionsInUse, PositionStore
from application.purge import Purge
from application.signal import ChangeSignal
from application.states import NOTHING, TOKEN_PATTERN, InvalidState, State
from application.tasks import Tasks, UserTasks
from application.update_task import COMPLETION, CompleteTask, UpdateTask
from application.writes import IDEMPOTENCY_KEY, Applied, Once, Write, WritesRejected, Written

__all__ = [
    "COMPLETION",
    "DEFAULT_PAGE_SIZE",
    "IDEMPOTENCY_KEY",
    "MAX_OPERATIONS",
    "MAX_PAGE_SIZE",
    "NOTHING",
    "SEARCH_TEXT",
    "TOKEN_PATTERN",
    "ApplicationError",
    "Applied",
    "ApplyBatch",
    "Change",
    "ChangeOperation",
    "ChangePage",
    "ChangeSignal",
    "Clock",
    "CompleteTask",
    "CreateOperation",
    "CreateTask",
    "DeleteOperation",
    "DeleteTask",
    "ExportTasks",
    "FollowChanges",
    "FollowEvents",
    "ForgetUser",
    "GetTask",
    "IdempotencyKeyReused",
    "IdempotencyKeyUsed",
    "ImportTasks",
    "Imported",
    "InvalidBatch",
    "InvalidPage",
    "InvalidState",
    "ListChanges",
    "ListTasks",
    "NotOwner",
    "Once",
    "Operation",
    "PageRequest",
    "Position",
    "PositionStore",
    "PositionsInUse",
    "Progress",
    "Purge",
    "Removal",
    "SeenTask",
    "State",
    "StateExpired",
    "StateMismatch",
    "StorageNotMigrated",
    "StorageUnavailable",
    "TaskAlreadyExists",
    "TaskCompleted",
    "TaskContended",
    "TaskCreated",
    "TaskDeleted",
    "TaskEvent",
    "TaskIds",
    "TaskNotFound",
    "TaskPage",
    "TaskRenamed",
    "TaskReopened",
    "TaskRepository",
    "Tasks",
    "UpdateTask",
    "UserTasks",
    "VersionConflict",
    "Write",
    "WritesRejected",
    "Written",
    "only_own_tasks",
]
