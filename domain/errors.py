"""What the domain refuses. Each refusal carries a `code` that stays the same for ever, and the `field` at fault."""

from typing import ClassVar


class DomainError(ValueError):
    """A value that breaks a rule of the domain.

    `code` says which rule, in a word that callers may branch on; `detail` says it to a person and never
    repeats the value, so both are safe to log.
    """

    field: ClassVar[str] = "task"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class InvalidTitle(DomainError):
    """`title_empty`, `_too_long`, `_control_character`, `_surrogate`, `_not_text`; `title_not_stripped` in a Task."""

    field = "title"


class InvalidUserId(DomainError):
    """`user_id_empty`, `_too_long`, `_control_character`, `_surrogate` or `_not_text`."""

    field = "user_id"


class InvalidTask(DomainError):
    """`task_inconsistent`: attributes that cannot belong to one task, such as a completion before the creation."""
