"""The statement that carries out many writes of one user, all or nothing, and stores an idempotency key with them.

It judges each write in the state that it finds. Only if none is at fault and no other state is required, it takes
as many numbers as there are changes, and writes with them; otherwise it changes nothing, and returns a row for each
write at fault. The user's counter is locked first, as by every write.

A task that is changed between the judgement and the lock would not be found in its version any more. Then fewer rows
are written than there are writes, and a division by zero ends the statement, so that nothing is written at all.
"""

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from adapters.postgres.statement import DIALECT, Statement
from adapters.postgres.statements import ADDED, SAVED, title_key, value_type
from application import Applied, Change, Once, Removal, State, Write
from domain import TASK_FIELDS, Task

_COLUMNS = [column for column in ADDED if column.name != "user_id"]
_NAMES = ", ".join(column.name for column in _COLUMNS)
_PARAMETERS = (
    *("user_id", "kind", "version", *(column.name for column in _COLUMNS)),
    *("changes", "now", "if_epoch", "if_number", "key", "fingerprint", "result"),
)
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Task)}
_N = {name: f"${place}" for place, name in enumerate(_PARAMETERS, start=1)}

APPLY = Statement(
    name="task_apply",
    parameters=_PARAMETERS,
    sql=f"""
    WITH calls AS (
        SELECT * FROM unnest(
            {_N["kind"]}::text[], {_N["version"]}::bigint[],
            {", ".join(f"{_N[c.name]}::{value_type(c).compile(DIALECT)}[]" for c in _COLUMNS)}
        ) WITH ORDINALITY AS calls (kind, version, {_NAMES}, n)
    ),
    judged AS (
        SELECT
            calls.*, stored.version AS stored_version,
            count(*) FILTER (WHERE kind <> 'keep') OVER (ORDER BY n) AS place,
            CASE
                WHEN kind = 'add' AND (stored.version IS NOT NULL OR removed.version IS NOT NULL) THEN 'exists'
                WHEN kind <> 'add' AND stored.version IS NULL THEN 'missing'
                WHEN kind <> 'add' AND stored.version <> calls.version THEN 'changed'
            END AS fault
        FROM calls
        LEFT JOIN LATERAL (
            SELECT version FROM tasks WHERE user_id = $1 AND id = calls.id LIMIT 1
        ) AS stored ON true
        LEFT JOIN LATERAL (
            SELECT version FROM task_tombstones WHERE user_id = $1 AND task_id = calls.id LIMIT 1
        ) AS removed ON true
    ),
    total AS (SELECT count(*) AS writes, count(fault) AS faults FROM judged),
    before AS (
        SELECT coalesce(max(epoch), 0) AS epoch, coalesce(max(value), 0) AS value FROM task_counters WHERE user_id = $1
    ),
    required AS (
        SELECT 1 FROM before WHERE {_N["if_epoch"]}::bigint IS NULL
            OR (epoch, value) = ({_N["if_epoch"]}::bigint, {_N["if_number"]}::bigint)
    ),
    counter AS (
        INSERT INTO task_counters (user_id, value)
        SELECT $1, greatest({_N["changes"]}::bigint, 1) FROM total, required WHERE faults = 0
        ON CONFLICT (user_id) DO UPDATE SET value = task_counters.value + {_N["changes"]}::bigint
        WHERE {_N["if_epoch"]}::bigint IS NULL
            OR (task_counters.epoch, task_counters.value) = ({_N["if_epoch"]}::bigint, {_N["if_number"]}::bigint)
        RETURNING epoch, value
    ),
    numbered AS (SELECT judged.*, value - {_N["changes"]}::bigint + place AS number FROM judged, counter),
    added AS (
        INSERT INTO tasks (user_id, {_NAMES}, version)
        SELECT $1, {_NAMES}, number FROM numbered WHERE kind = 'add'
        RETURNING id
    ),
    saved AS (
        UPDATE tasks SET {", ".join(f"{c.name} = numbered.{c.name}" for c in SAVED)}, version = numbered.number
        FROM numbered
        WHERE numbered.kind = 'save'
            AND tasks.user_id = $1 AND tasks.id = numbered.id AND tasks.version = numbered.version
        RETURNING tasks.id
    ),
    gone AS (
        DELETE FROM tasks USING numbered
        WHERE numbered.kind = 'remove'
            AND tasks.user_id = $1 AND tasks.id = numbered.id AND tasks.version = numbered.version
        RETURNING tasks.id, numbered.number
    ),
    kept AS (
        SELECT stored.id FROM numbered, LATERAL (
            SELECT id FROM tasks WHERE user_id = $1 AND id = numbered.id AND version = numbered.version
            FOR NO KEY UPDATE
        ) AS stored
        WHERE numbered.kind = 'keep'
    ),
    tombstones AS (
        INSERT INTO task_tombstones (user_id, task_id, version, removed_at)
        SELECT $1, id, number, {_N["now"]}::timestamptz FROM gone
    ),
    noted AS (
        INSERT INTO idempotency_keys (user_id, key, fingerprint, number, epoch, result, stored_at)
        SELECT $1, {_N["key"]}::text, {_N["fingerprint"]}::bytea, value, epoch, {_N["result"]}::text,
            {_N["now"]}::timestamptz
        FROM counter WHERE {_N["key"]}::text IS NOT NULL
    )
    SELECT
        NULL::bigint AS n, NULL::text AS fault, epoch, value AS version,
        1 / ((
            SELECT count(*) FROM (
                SELECT id FROM added UNION ALL SELECT id FROM saved
                UNION ALL SELECT id FROM gone UNION ALL SELECT id FROM kept
            ) AS done
        ) = writes)::int AS is_whole
    FROM counter, total
    UNION ALL
    SELECT n, fault, NULL, stored_version, 1 FROM judged, required WHERE fault IS NOT NULL
    """,  # noqa: S608  # names of columns and parameters only
)
"""Returns the epoch and the new value of the counter; or a row for each write at fault, with its place from 1; or
nothing, where another state is required."""


def apply_arguments(
    user_id: str, writes: Sequence[Write], *, now: datetime, once: Once | None, if_state: State | None
) -> list[Any]:
    """Return the statement's arguments."""
    tasks = [write.task for write in writes]
    columns = {column.name: [getattr(task, column.name, None) for task in tasks] for column in _COLUMNS}
    columns["title_key"] = [title_key(task.title) for task in tasks]
    return APPLY.arguments(
        {
            **columns,
            "user_id": user_id,
            "kind": [write.kind for write in writes],
            "version": [task.version for task in tasks],
            "changes": count_changes(writes),
            "now": now,
            "if_epoch": if_state and if_state.epoch,
            "if_number": if_state and if_state.number,
            "key": once and once.key,
            "fingerprint": once and once.fingerprint,
            "result": once and encode_result(writes),
        }
    )


def outcome(writes: Sequence[Write], state: State) -> Applied:
    """Return the outcome of writes after which the counter was in a state."""
    changes = count_changes(writes)
    number = state.number - changes
    results: list[Change] = []
    for write in writes:
        number += write.kind != "keep"
        results.append(_result(write, number))
    return Applied(results=tuple(results), state=state, has_changed=changes > 0)


def count_changes(writes: Sequence[Write]) -> int:
    """Return how many numbers writes take."""
    return sum(write.kind != "keep" for write in writes)


def _result(write: Write, number: int) -> Change:
    task = write.task
    if write.kind == "keep":
        return task
    if write.kind == "remove":
        return Removal(id=task.id, version=number)
    return task.stored(number)


def encode_result(writes: Sequence[Write]) -> str:
    """Return writes as text, from which `decode_result` makes them again."""
    return json.dumps(
        [[write.kind, *(_encoded(getattr(write.task, name)) for name in TASK_FIELDS)] for write in writes],
        ensure_ascii=False,  # which takes up to three times the bytes
    )


def decode_result(text: str) -> list[Write]:
    """Return the writes of an idempotency key.

    Another release may have stored them: fields that it did not know have their defaults, later ones are left out.
    """
    return [Write(kind=kind, task=Task.restore(_decoded(fields))) for kind, *fields in json.loads(text)]


def _encoded(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value) if isinstance(value, UUID) else value


def _decoded(fields: Sequence[Any]) -> list[object]:
    values = _DEFAULTS | dict(zip(TASK_FIELDS, fields, strict=False))
    values["id"] = UUID(values["id"])
    for name in ("created_at", "updated_at", "completed_at"):
        values[name] = values[name] and datetime.fromisoformat(values[name])
    return [*values.values()]
