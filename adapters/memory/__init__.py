"""Tasks in the memory of this process: for tests and trials, with no dependency and no I/O."""

from adapters.memory.tasks import MemoryTaskRepository

__all__ = ["MemoryTaskRepository"]
