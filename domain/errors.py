"""The base of all errors, and the errors of the domain, which carry a stable `code` and the `field` at fault."""

from typing import Any, ClassVar


class HextasksError(Exception):
    """Base of all errors that callers are meant to handle. `str()` is a sentence, without user data or secrets."""

    sentence: ClassVar[str] = "The task service failed."
    """What `str()` returns for an error that is raised without a text."""

    def __str__(self) -> str:
        return super().__str__() or self.sentence

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy, whatever the arguments of the class."""
        return type(self).__new__, (type(self), *self.args), self.__dict__


class DomainError(HextasksError, ValueError):
    """A value breaks a rule of the domain.

    `code` names the rule and never changes, so callers may branch on it. `detail` explains it and never repeats the
    value, so both are safe to log.
    """

    def __init__(self, code: str, detail: str, *, field: str = "task") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field


class InvalidText(DomainError):
    """A text breaks its TextRule. The code is the field's name and what is wrong with the text.

    For a title: `title_not_text`, `title_empty`, `title_too_long`, `title_control_character`, `title_surrogate`, and,
    in a Task only, `title_not_stripped`.
    """


class InvalidTask(DomainError):
    """The attributes of a task are not of their types, or contradict each other. The code says how.

    `id_not_uuid`, or `task_inconsistent`: another wrong type, or a contradiction, as a completion before the creation.
    """
