"""The error of the embedded PostgreSQL."""


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL could not be started. The text gives the reason and a path: of its log, or of a file."""
