"""Every statement of the PostgreSQL adapter that is for one user, for consumers of all, or for maintenance."""

import pkgutil
from importlib import import_module

import adapters.postgres
from adapters.postgres import Statement
from adapters.postgres.shared_statements import shared_statements
from adapters.postgres.statements import page_statement

EITHER = (False, True)
PAGES = [
    page_statement(c, after=after, search=search) for c in (None, *EITHER) for after in EITHER for search in EITHER
]
SHARED = shared_statements(one_user=True)


def statements() -> dict[str, Statement]:
    """Return the statements by their text: those of all modules, and those that functions make."""
    names = [each.name for each in pkgutil.iter_modules(adapters.postgres.__path__)]
    found = [value for name in names for value in vars(import_module(f"adapters.postgres.{name}")).values()]
    return {each.sql: each for each in (*found, *PAGES, *vars(SHARED).values()) if isinstance(each, Statement)}
