"""The entity checks itself: an invalid task cannot be constructed, and a change keeps every rule."""

import unicodedata
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import (
    TASK_FIELDS,
    UNCHANGED,
    DomainError,
    InvalidTask,
    InvalidText,
    Task,
    TaskChange,
    TaskDraft,
)
from domain.rules import TITLE, USER_ID
from hextasks.testing.contract.strategies import changes, drafts
from tests.fields import REJECTED, RULES

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
SOON = NOW + timedelta(seconds=1)
TICK = timedelta(microseconds=1)
TASK = Task.create(TaskDraft(title="Buy milk"), id=uuid4(), user_id="ada", now=NOW)
COMPLETION = TaskChange(is_completed=True)
DONE = TASK.apply(COMPLETION, now=SOON)

moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_a_new_task_is_open_unstored_and_stripped() -> None:
    task = Task.create(TaskDraft(title=" \u2003 Buy milk\r\n"), id=TASK.id, user_id="ada", now=NOW)
    assert task == TASK
    assert (task.is_completed, task.completed_at, task.version) == (False, None, 0)
    assert task.created_at == task.updated_at == NOW


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"title": ""}, "title_empty"),
        ({"title": " Buy milk"}, "title_not_stripped"),
        ({"title": None}, "title_not_text"),
        ({"user_id": ""}, "user_id_empty"),
        ({"user_id": 7}, "user_id_not_text"),
        ({"id": "not a UUID"}, "id_not_uuid"),
        ({"version": -1}, "task_inconsistent"),
        ({"version": True}, "task_inconsistent"),
        ({"version": 1.0}, "task_inconsistent"),
        ({"created_at": NOW.replace(tzinfo=None)}, "task_inconsistent"),
        ({"updated_at": NOW.astimezone(timezone(timedelta(hours=2)))}, "task_inconsistent"),
        ({"created_at": "2026-01-31"}, "task_inconsistent"),
        ({"created_at": datetime.min.replace(tzinfo=UTC)}, "task_inconsistent"),
        ({"updated_at": datetime.max.replace(tzinfo=UTC)}, "task_inconsistent"),
        ({"updated_at": NOW - TICK}, "task_inconsistent"),
        ({"completed_at": NOW - TICK}, "task_inconsistent"),
        ({"completed_at": NOW + TICK}, "task_inconsistent"),
        ({"completed_at": "now"}, "task_inconsistent"),
    ],
)
def test_an_invalid_task_cannot_be_constructed(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(DomainError) as error:
        replace(TASK, **changes)
    assert error.value.code == code


@given(drafts, drafts)
def test_a_draft_describes_the_tasks_with_its_values(draft: TaskDraft, other: TaskDraft) -> None:
    task = Task.create(draft, id=TASK.id, user_id="ada", now=NOW)
    assert draft.describes(task.apply(COMPLETION, now=SOON))
    assert other.describes(task) == (other == draft)


@pytest.mark.parametrize("task", [TASK, DONE])
def test_a_stored_task_is_restored_from_its_fields(task: Task) -> None:
    values = [getattr(task, name) for name in TASK_FIELDS]
    restored = Task.restore(values)
    assert restored == task
    assert hash(restored) == hash(task)
    with pytest.raises(FrozenInstanceError):
        restored.title = "Buy tea"  # type: ignore[misc]
    for other in (values[:-1], [*values, 0]):
        with pytest.raises(ValueError, match="unpack"):
            Task.restore(other)


@pytest.mark.parametrize("task", [TASK, DONE])
def test_a_task_as_stored_has_its_version_and_the_time_of_its_creation(task: Task) -> None:
    assert task.stored(7) == replace(task, version=7)
    assert task.stored(7, created_at=NOW - TICK) == replace(task, version=7, created_at=NOW - TICK)


def test_a_task_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        TASK.title = "Buy tea"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Task(*[getattr(TASK, name) for name in TASK_FIELDS])  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        (TASK, {}, TASK),
        (TASK, {"title": "Buy milk"}, TASK),
        (TASK, {"title": "  Buy milk "}, TASK),
        (TASK, {"is_completed": False}, TASK),
        (DONE, {"is_completed": True}, DONE),
        (DONE, {"title": "Buy milk", "is_completed": True}, DONE),
    ],
)
def test_a_change_without_effect_returns_the_same_task(before: Task, change: dict[str, Any], after: Task) -> None:
    assert before.apply(TaskChange(**change), now=SOON + TICK) is after


def test_the_first_completion_stays_until_the_task_is_reopened() -> None:
    later = SOON + timedelta(hours=1)
    renamed = DONE.apply(TaskChange(title="Buy oat milk"), now=later)
    assert (renamed.completed_at, renamed.updated_at, renamed.title) == (SOON, later, "Buy oat milk")
    reopened = renamed.apply(TaskChange(is_completed=False), now=later + TICK)
    assert (reopened.completed_at, reopened.is_completed, reopened.updated_at) == (None, False, later + TICK)
    again = reopened.apply(COMPLETION, now=later + 2 * TICK)
    assert again.completed_at == again.updated_at == later + 2 * TICK


def test_a_change_needs_a_time_in_utc() -> None:
    with pytest.raises(InvalidTask):
        TASK.apply(COMPLETION, now=NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"title": " "}, "title_empty"),
        ({"title": None}, "title_not_text"),
        ({"is_completed": None}, "task_inconsistent"),
        ({"is_completed": 1}, "task_inconsistent"),
    ],
)
def test_an_invalid_change_cannot_be_constructed(change: dict[str, Any], code: str) -> None:
    with pytest.raises(DomainError) as error:
        TaskChange(**change)
    assert error.value.code == code


def test_a_change_of_both_fields_has_one_time() -> None:
    changed = TASK.apply(TaskChange(title=" Buy tea", is_completed=True), now=SOON)
    assert (changed.title, changed.completed_at, changed.updated_at) == ("Buy tea", SOON, SOON)


@given(st.lists(st.tuples(moments, changes)))
def test_no_history_under_any_clock_breaks_a_rule(history: list[tuple[datetime, TaskChange]]) -> None:
    task = TASK
    for now, change in history:
        changed = task.apply(change, now=now)
        for field in fields(change):
            assert getattr(change, field.name) in (UNCHANGED, getattr(changed, field.name))
        assert (changed is task) == (changed.updated_at == task.updated_at)
        assert changed.updated_at >= task.updated_at
        if task.is_completed and changed.is_completed:
            assert changed.completed_at == task.completed_at
        assert (changed.id, changed.user_id, changed.created_at) == (task.id, task.user_id, task.created_at)
        task = changed


@pytest.mark.parametrize(("field", "text", "code"), REJECTED)
def test_a_rejected_text_has_a_stable_code(field: str, text: str, code: str) -> None:
    with pytest.raises(InvalidText) as rejected:
        RULES[field].clean(text)
    assert (rejected.value.code, rejected.value.field) == (code, field)
    assert str(rejected.value) == rejected.value.detail


@pytest.mark.parametrize("user_id", ["x", "x" * 255, " spaces stay ", "auth0|1", "a/b", "\U0001f600"])
def test_user_ids_are_opaque(user_id: str) -> None:
    assert USER_ID.clean(user_id) == user_id


@given(st.text(max_size=520))
def test_a_title_is_accepted_exactly_when_the_rule_allows(text: str) -> None:
    stripped = text.strip()
    allowed = 1 <= len(stripped) <= 500 and not any(unicodedata.category(c) in ("Cc", "Cs") for c in stripped)
    try:
        cleaned = TITLE.clean(text)
    except InvalidText:
        assert not allowed
    else:
        assert allowed
        assert cleaned == stripped == TITLE.clean(cleaned)
