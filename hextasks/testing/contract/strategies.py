"""Hypothesis strategies for new tasks and their changes. They derive from the domain: a new field is tried, too."""

from typing import Any, get_args, get_type_hints

from hypothesis import strategies as st

from hextasks import UNCHANGED, TaskChange, TaskDraft, Unchanged

_SAMPLES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.sampled_from(["Buy milk", " Buy milk ", "x" * 500, "\U0001f600"]),
    bool: st.booleans(),
    type(None): st.none(),
    Unchanged: st.just(UNCHANGED),
}


def _built(made: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for a value object with any values of the types of its fields."""
    hints = {name: get_args(hint) or (hint,) for name, hint in get_type_hints(made).items()}
    return st.builds(made, **{name: st.one_of(*map(_SAMPLES.__getitem__, kinds)) for name, kinds in hints.items()})


drafts: st.SearchStrategy[TaskDraft] = _built(TaskDraft)
changes: st.SearchStrategy[TaskChange] = _built(TaskChange)
