"""The errors of use-cases and repositories, beside those of the domain. Callers tell them apart by their class."""

from domain import HextasksError


class ApplicationError(HextasksError):
    """Base of the errors of use-cases and repositories."""


class NotOwner(ApplicationError):
    """The actor asked for the tasks of another user. Raised before anything is read, so it discloses nothing."""

    sentence = "The tasks belong to another user."


class TaskNotFound(ApplicationError):
    """The user owns no such task: it never existed, was deleted, or is another user's."""

    sentence = "The task does not exist."


class TaskAlreadyExists(ApplicationError):
    """The user owns a task with this id, or has deleted one. Nothing was written."""

    sentence = "A task with this id exists, or was deleted."


class VersionConflict(ApplicationError):
    """The task's version is not the one that was expected or read: it has changed since. Nothing was written."""

    sentence = "The task has another version."

    def __init__(self, current_version: int | None = None) -> None:
        """Take the version that is stored, if it is known."""
        super().__init__()
        self.current_version = current_version


class StateMismatch(ApplicationError):
    """The user's state is not the one that was required. Nothing was written."""

    sentence = "The tasks are in another state."


class StateExpired(ApplicationError):
    """Changes since that state are not known completely: read all again.

    The state is from before a restored backup, older than the deletions that are kept, or not this user's.
    """

    sentence = "Changes since this state are not known completely; read all tasks again."


class IdempotencyKeyUsed(ApplicationError):
    """An earlier write had the same idempotency key. Nothing was written; `recall` returns the earlier outcome."""

    sentence = "An earlier write had the same idempotency key."


class IdempotencyKeyReused(ApplicationError):
    """An earlier write with the same idempotency key was another one. Nothing was written."""

    sentence = "Another write had the same idempotency key."


class TaskContended(ApplicationError):
    """Concurrent writes or searches of the same user took too long, or conflicted too often. Nothing was written."""

    sentence = "Concurrent requests of the same user took too long; nothing was written."


class StorageUnavailable(ApplicationError):
    """The storage could not be reached or did not respond in time; a write may or may not have happened."""

    sentence = "The database is unavailable."


class StorageNotMigrated(StorageUnavailable):
    """The database has no tables for tasks, or those of another version. Nothing was written."""

    sentence = "The database is not migrated to this version. Run: hextasks migrate"
