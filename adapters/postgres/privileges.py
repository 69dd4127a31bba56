"""The privileges that the service needs, and the statements that grant those that its role lacks."""

from adapters.postgres.tables import VERSION_TABLE

NEEDED = {
    VERSION_TABLE: ("SELECT",),
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
        SELECT name, privilege, n, table_oid, schema_oid, schema_name
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS needed (name, privilege, n)
        CROSS JOIN LATERAL (
            SELECT c.oid, s.oid, s.nspname FROM pg_class AS c JOIN pg_namespace AS s ON s.oid = c.relnamespace
            WHERE c.relname = name AND CASE
                WHEN $3::text IS NOT NULL THEN s.nspname = $3
                WHEN to_regclass(quote_ident(name)) IS NOT NULL THEN c.oid = to_regclass(quote_ident(name))
                ELSE s.nspname = ANY (regexp_split_to_array(
                    replace(replace(current_setting('search_path'), '$user', current_user), '"', ''), ', *'
                ))
            END
            LIMIT 1
        ) AS found (table_oid, schema_oid, schema_name)
    )
    SELECT
        current_setting('server_version') AS version,
        current_setting('server_encoding') AS encoding,
        current_setting('transaction_read_only') = 'on' AS is_read_only,
        EXISTS (SELECT FROM needed WHERE name = 'tasks') AS has_tables,
        to_regclass('pg_dist_partition') IS NOT NULL AS has_citus,
        ARRAY(
            SELECT format('GRANT USAGE ON SCHEMA %I TO %I;', schema_name, current_user)
            FROM needed WHERE NOT has_schema_privilege(schema_oid, 'USAGE') GROUP BY schema_name
        ) || ARRAY(
            SELECT format(
                'GRANT %s ON %I.%I TO %I;', string_agg(privilege, ', ' ORDER BY n), schema_name, name, current_user
            )
            FROM needed WHERE NOT has_table_privilege(table_oid, privilege) GROUP BY schema_name, name ORDER BY min(n)
        ) AS grants
"""
"""Returns one row about a database and a role; `grants` are the statements that grant what the role lacks.

The third argument is the schema that has the tables; with NULL, the role's search path finds them.
"""


def describe_missing(grants: list[str]) -> str:
    """Return the reason and the remedy as one line."""
    return f"the role lacks privileges. As the owner of the tables run: {' '.join(grants)}"
