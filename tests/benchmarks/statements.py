"""The single statements that the limit, Fastify and pgbench execute: those of hextasks, for any version of a task."""

_COLUMNS = "user_id, id, title, created_at, updated_at, completed_at, version"
_TASK = "WHERE user_id = $1 AND id = $2"
_COUNTER = f"""\
WITH counter AS (
    UPDATE task_counters SET value = value + 1
    WHERE user_id = $1 AND EXISTS (SELECT 1 FROM tasks {_TASK}) RETURNING value
)"""

GET = f"SELECT {_COLUMNS} FROM tasks {_TASK}"
LIST = f"SELECT {_COLUMNS} FROM tasks WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2"
CREATE = f"""\
WITH counter AS (
    INSERT INTO task_counters (user_id, value) VALUES ($1, 1)
    ON CONFLICT (user_id) DO UPDATE SET value = task_counters.value + 1 RETURNING value
)
INSERT INTO tasks ({_COLUMNS}) SELECT $1, $2, $3, $4, $4, NULL, counter.value FROM counter RETURNING {_COLUMNS}"""
UPDATE = f"""\
{_COUNTER}
UPDATE tasks SET title = $3, updated_at = $4, version = counter.value FROM counter {_TASK}
RETURNING {_COLUMNS}"""
COMPLETE = f"""\
{_COUNTER}
UPDATE tasks SET completed_at = $3, updated_at = $3, version = counter.value FROM counter {_TASK}
RETURNING {_COLUMNS}"""
DELETE = f"""\
{_COUNTER}, gone AS (
    DELETE FROM tasks USING counter {_TASK} RETURNING id, counter.value AS version
)
INSERT INTO task_tombstones (user_id, task_id, version, removed_at) SELECT $1, id, version, $3 FROM gone
RETURNING version"""

STATEMENTS = {"get": GET, "list": LIST, "create": CREATE, "update": UPDATE, "complete": COMPLETE, "delete": DELETE}
