"""The task domain: one entity, rules (in `domain.rules`) and errors. Standard library only, no I/O, no clock."""

from domain.errors import DomainError, HextasksError, InvalidTask, InvalidText
from domain.search import search_key
from domain.task import TASK_FIELDS, UNCHANGED, Task, TaskChange, TaskDraft, Unchanged, check_id

__all__ = [
    "TASK_FIELDS",
    "UNCHANGED",
    "DomainError",
    "HextasksError",
    "InvalidTask",
    "InvalidText",
    "Task",
    "TaskChange",
    "TaskDraft",
    "Unchanged",
    "check_id",
    "search_key",
]
