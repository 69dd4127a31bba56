"""The error of the embedded PostgreSQL."""

from domain import HextasksError


class EmbeddedPostgresError(HextasksError):
    """The embedded PostgreSQL could not be started. The text gives the reason and a path: of its log, or of a file."""

    sentence = "The embedded PostgreSQL could not be started."
