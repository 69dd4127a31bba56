"""The errors of the domain. Each carries a stable `code` and the `field` at fault."""


class DomainError(ValueError):
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
    """`task_inconsistent`: an attribute has the wrong type, or contradicts another, as a completion before creation."""
