"""The task domain: one entity, its rules and its refusals. Standard library only, no I/O, no clock."""

from domain.errors import DomainError, InvalidTask, InvalidTitle, InvalidUserId
from domain.rules import TITLE_MAX_LENGTH, USER_ID_MAX_LENGTH, check_user_id, clean_title
from domain.task import Task

__all__ = [
    "TITLE_MAX_LENGTH",
    "USER_ID_MAX_LENGTH",
    "DomainError",
    "InvalidTask",
    "InvalidTitle",
    "InvalidUserId",
    "Task",
    "check_user_id",
    "clean_title",
]
