"""What a use-case or a repository may raise beside the domain's refusals. Each class carries a stable `code`."""

from typing import ClassVar


class ApplicationError(Exception):
    """Base of all errors that callers are meant to handle. Its text names no user, no title and no secret."""

    code: ClassVar[str]


class Forbidden(ApplicationError):
    """The actor asked for tasks of another user. Raised before anything is read, so it tells nothing."""

    code = "forbidden"


class TaskNotFound(ApplicationError):
    """The user owns no such task: it never was, it was deleted, or it is another user's."""

    code = "task_not_found"


class TaskAlreadyExists(ApplicationError):
    """The user already owns a task with this id. Nothing was written."""

    code = "task_already_exists"


class VersionConflict(ApplicationError):
    """The task's version is not the one that was named or read: somebody changed it since. Nothing was written."""

    code = "version_mismatch"


class TaskContended(ApplicationError):
    """Other writers of the same user were in the way for too long, or too often. Nothing was written."""

    code = "overloaded"


class StorageUnavailable(ApplicationError):
    """The storage could not be reached or could not answer in time; a write may or may not have happened."""

    code = "storage_unavailable"
