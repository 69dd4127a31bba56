"""A prepared statement: its text, its parameters, and whether it may run twice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

DIALECT: Dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """SQL text with numbered parameters, as asyncpg takes it."""

    name: str
    """Names the statement in metrics and logs, for example `task_get`."""
    sql: str
    is_read: bool = False
    """Whether it changes nothing, so that it may run again after its connection was lost."""
    parameters: tuple[str, ...] = ()
    """The names of `$1`, `$2` and so on."""

    @classmethod
    def compiled(cls, name: str, clause: ClauseElement, *, is_read: bool = False) -> Self:
        """Compile a Core expression. Raises TypeError when a value, rather than a parameter, is bound."""
        compiled = clause.compile(dialect=DIALECT)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101  # for type checkers
        parameters = tuple(compiled.positiontup or ())
        if bound := {parameter for parameter in parameters if compiled.binds[parameter].value is not None}:
            raise TypeError(f"values bound at compile time: {bound}")
        return cls(name=name, sql=str(compiled), is_read=is_read, parameters=parameters)

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the values in the order of the parameters."""
        return [values[name] for name in self.parameters]
