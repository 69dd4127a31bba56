"""The errors of use-cases and repositories, beside those of the domain. Callers tell them apart by their class."""


class ApplicationError(Exception):
    """Base of all errors that callers are meant to handle. Its text names no user, no title and no secret."""


class NotOwner(ApplicationError):
    """The actor asked for the tasks of another user. Raised before anything is read, so it discloses nothing."""


class TaskNotFound(ApplicationError):
    """The user owns no such task: it never existed, was deleted, or is another user's."""


class TaskAlreadyExists(ApplicationError):
    """The user already owns a task with this id. Nothing was written."""


class VersionConflict(ApplicationError):
    """The task's version is not the one that was expected or read: it has changed since. Nothing was written."""


class TaskContended(ApplicationError):
    """Concurrent writes of the same user took too long, or conflicted too often. Nothing was written."""


class StorageUnavailable(ApplicationError):
    """The storage could not be reached or did not respond in time; a write may or may not have happened."""
