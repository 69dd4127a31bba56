"""The errors of use-cases and repositories, beside those of the domain. Each class carries a stable `code`."""

from typing import ClassVar


class ApplicationError(Exception):
    """Base of all errors that callers are meant to handle. Its text names no user, no title and no secret."""

    code: ClassVar[str]


class NotOwner(ApplicationError):
    """The actor asked for the tasks of another user. Raised before anything is read, so it discloses nothing."""

    code = "not_owner"


class TaskNotFound(ApplicationError):
    """The user owns no such task: it never existed, was deleted, or is another user's."""

    code = "task_not_found"


class TaskAlreadyExists(ApplicationError):
    """The user already owns a task with this id. Nothing was written."""

    code = "task_already_exists"


class VersionConflict(ApplicationError):
    """The task's version is not the one that was expected or read: it has changed since. Nothing was written."""

    code = "version_conflict"


class TaskContended(ApplicationError):
    """Concurrent writes of the same user took too long, or conflicted too often. Nothing was written."""

    code = "task_contended"


class StorageUnavailable(ApplicationError):
    """The storage could not be reached or did not respond in time; a write may or may not have happened."""

    code = "storage_unavailable"
