"""The privileges that the service needs, and the statements that grant those that its role lacks."""

NEEDED = {
    "alembic_version": ("SELECT",),
    "tasks": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "task_counters": ("SELECT", "INSERT", "UPDATE"),
    "task_tombstones": ("SELECT", "INSERT", "DELETE"),
    "idempotency_keys": ("SELECT", "INSERT", "UPDATE", "DELETE"),
}
"""What the statements of this package need of each table; a migration needs its owner. FOR UPDATE needs UPDATE."""
NEEDED_ARGUMENTS = (
    [table for table, privileges in NEEDED.items() for _ in privileges],
    [privilege for privileges in NEEDED.values() for privilege in privileges],
)

# A table in a schema that the role may not use is looked up by name, because to the role it does not exist.
# Privileges on a table that does not exist are not missing.
EXAMINE = """
    WITH needed AS (
        SELECT name, privilege, n, table_oid, schema_oid
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS needed (name, privilege, n)
        CROSS JOIN LATERAL (
            SELECT c.oid, c.relnamespace FROM pg_class AS c JOIN pg_namespace AS s ON s.oid = c.relnamespace
            WHERE c.relname = name AND (
                c.oid = to_regclass(quote_ident(name)) OR to_regclass(quote_ident(name)) IS NULL
                AND s.nspname = ANY (regexp_split_to_array(
                    replace(replace(current_setting('search_path'), '$user', current_user), '"', ''), ', *'
                ))
            )
            LIMIT 1
        ) AS found (table_oid, schema_oid)
    )
    SELECT
        current_setting('server_version') AS version,
        current_setting('server_encoding') AS encoding,
        current_setting('transaction_read_only') = 'on' AS is_read_only,
        to_regclass('tasks') IS NOT NULL AS has_tables,
        ARRAY(
            SELECT format('GRANT USAGE ON SCHEMA %s TO %I;', schema_oid::regnamespace, current_user)
            FROM needed WHERE NOT has_schema_privilege(schema_oid, 'USAGE') GROUP BY schema_oid
        ) || ARRAY(
            SELECT format('GRANT %s ON %I TO %I;', string_agg(privilege, ', ' ORDER BY n), name, current_user)
            FROM needed WHERE NOT has_table_privilege(table_oid, privilege) GROUP BY name ORDER BY min(n)
        ) AS grants
"""
"""Returns one row about a database and a role; `grants` are the statements that grant what the role lacks."""


def describe_missing(grants: list[str]) -> str:
    """Return the reason and the remedy as one line."""
    return f"the role lacks privileges. As the owner of the tables run: {' '.join(grants)}"
