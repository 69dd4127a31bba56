"""Every error of the library says a sentence, and has one base class."""

import copy
import inspect
import pickle
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest

import adapters
import application
import domain
import entrypoints
import hextasks
from domain import TaskChange
from hextasks import (
    NOTHING,
    CreateOperation,
    DeleteOperation,
    HextasksError,
    Once,
    PageRequest,
    State,
    TaskDraft,
    open_tasks,
)

SENTENCE = re.compile(r"[A-Z][^\n]*(\.|\. Run: hextasks \w+)")
SECRET = "s3cret"


def errors() -> Iterator[type[Exception]]:
    """Yield the public exceptions of all packages; those of HTTP end as problems."""
    for package in (domain, application, adapters, entrypoints, hextasks):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.startswith("entrypoints.http"):
                for name, kind in inspect.getmembers(import_module(found.name), inspect.isclass):
                    if kind.__module__ == found.name and issubclass(kind, Exception) and not name.startswith("_"):
                        yield kind


@pytest.mark.slow
def test_every_error_has_one_base_and_a_sentence_of_its_own() -> None:
    kinds = [*errors()]
    assert len(kinds) > 25
    assert [kind for kind in kinds if not issubclass(kind, HextasksError)] == []
    for kind in kinds:
        takes = inspect.signature(kind.__init__).parameters
        values: dict[str, Any] = {
            "code": "a_code",
            "detail": "A detail.",
            "text": "A text.",
            "errors": {},
            "current_version": 3,
        }
        error = kind(**{name: values[name] for name in takes if name in values})
        assert SENTENCE.fullmatch(str(error)), kind
        assert "detail" in takes or kind in (HextasksError, hextasks.ApplicationError) or "sentence" in vars(kind)
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


async def test_no_error_repeats_what_users_wrote() -> None:
    async with open_tasks("memory://") as tasks:
        ada = tasks.of(SECRET)
        once = Once(key=SECRET, fingerprint=b"")
        task = (await ada.create(SECRET, once=once)).task
        other = Once(key=SECRET, fingerprint=b"other")
        twice = [DeleteOperation(task_id=task.id)] * 2
        wrong: Any = SECRET
        calls: list[Any] = [
            lambda: ada.create(f"{SECRET}\0"),
            lambda: ada.create("x" * 501),
            lambda: ada.create("Buy tea", task_id=task.id),
            lambda: ada.create(SECRET, once=other),
            lambda: ada.create(SECRET, task_id=wrong),
            lambda: ada.update(task.id, TaskChange(is_completed=wrong)),
            lambda: ada.update(task.id, TaskChange(title="Buy tea"), expected_version=7),
            lambda: ada.get(uuid4()),
            lambda: ada.apply(twice),
            lambda: ada.apply([CreateOperation(draft=TaskDraft(title="Buy tea"), task_id=task.id)]),
            lambda: ada.apply(twice[:1], if_state=NOTHING),
            lambda: ada.list(PageRequest(limit=wrong)),
            lambda: ada.list(PageRequest(text=f"{SECRET}\0")),
            lambda: ada.changes(since=State.parse(SECRET)),
            lambda: ada.changes(since=State(epoch=1, number=1)),
            lambda: tasks.get(actor="grace", user_id=SECRET, task_id=task.id),
            lambda: tasks.of(f"{SECRET}\0").list(),
        ]
        for call in calls:
            with pytest.raises(HextasksError) as raised:
                await call()
            assert SENTENCE.fullmatch(str(raised.value))
            assert SECRET not in str(raised.value) + repr(raised.value)
