"""The task domain: one entity, its rules and its errors. Standard library only, no I/O, no clock."""

from domain.errors import DomainError, InvalidTask, InvalidText
from domain.rules import TITLE, USER_ID, TextRule
from domain.task import TASK_FIELDS, UNCHANGED, Task, TaskChange, TaskDraft, Unchanged

__all__ = [
    "TASK_FIELDS",
    "TITLE",
    "UNCHANGED",
    "USER_ID",
    "DomainError",
    "InvalidTask",
    "InvalidText",
    "Task",
    "TaskChange",
    "TaskDraft",
    "TextRule",
    "Unchanged",
]
