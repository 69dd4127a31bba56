"""Helps to test what uses hextasks: use-cases in memory, a clock and ids that tests control, and builders of tasks.

The pytest plugin `hextasks.pytest_plugin`, which pytest finds by itself, has fixtures of them. `hextasks.testing.http`,
which needs the `http` extra, has tokens and a client of the HTTP API in this process; `hextasks.testing.contract`,
which needs the `testing` extra, the tests that every TaskRepository has to pass.
"""

from hextasks.testing.builders import Builder, a_draft, a_task, memory_tasks
from hextasks.testing.clock import ManualClock, SequentialIds

__all__ = ["Builder", "ManualClock", "SequentialIds", "a_draft", "a_task", "memory_tasks"]
