"""The public face of hextasks: tasks, use-cases, their errors, and `open_tasks`. Standard library only.

`hextasks.postgres` has what needs the `postgres` extra, `hextasks.client` a client of the API, `hextasks.litestar` the
API for a Litestar application, and `hextasks.testing` helps to test what uses hextasks. All names are in
`hextasks.names`, which is loaded when the first is used: the pytest plugin must slow no other tests down.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hextasks.names import *  # noqa: F403
    from hextasks.names import __all__ as __all__
else:
    from importlib import import_module

    def __getattr__(name: str) -> object:
        if name.startswith("_") and name != "__all__":  # asked for by tools
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.names"), name)
        return value

    def __dir__() -> list[str]:
        return [*import_module(f"{__name__}.names").__all__]
