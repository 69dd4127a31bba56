"""The errors of use-cases and repositories, beside those of the domain. Callers tell them apart by their class."""


class ApplicationError(Exception):
    """Base of all errors that callers are meant to handle. Its text names no user, no title and no secret."""


class NotOwner(ApplicationError):
    """The actor asked for the tasks of another user. Raised before anything is read, so it discloses nothing."""


class TaskNotFound(ApplicationError):
    """The user owns no such task: it never existed, was deleted, or is another user's."""


class TaskAlreadyExists(ApplicationError):
    """The user owns a task with this id, or has deleted one. Nothing was written."""


class VersionConflict(ApplicationError):
    """The task's version is not the one that was expected or read: it has changed since. Nothing was written."""

    def __init__(self, current_version: int | None = None) -> None:
        """Take the version that is stored, if it is known."""
        super().__init__()
        self.current_version = current_version


class StateMismatch(ApplicationError):
    """The user's state is not the one that was required. Nothing was written."""


class StateExpired(ApplicationError):
    """Changes since that state are not known completely: read all again.

    The state is from before a restored backup, older than the deletions that are kept, or not this user's.
    """


class IdempotencyKeyUsed(ApplicationError):
    """An earlier write had the same idempotency key. Nothing was written; `recall` returns the earlier outcome."""


class IdempotencyKeyReused(ApplicationError):
    """An earlier write with the same idempotency key was another one. Nothing was written."""


class TaskContended(ApplicationError):
    """Concurrent writes of the same user took too long, or conflicted too often. Nothing was written."""


class StorageUnavailable(ApplicationError):
    """The storage could not be reached or did not respond in time; a write may or may not have happened."""
