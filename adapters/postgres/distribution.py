"""The distribution of the tables over the nodes of a Citus cluster, in shards by `user_id`."""

from dataclasses import dataclass

from sqlalchemy import Connection

from adapters.postgres.database import Database
from adapters.postgres.migrations import DatabaseNotReady, rejections, schema_state
from adapters.postgres.statement import Statement
from adapters.postgres.tables import metadata, task_counters

# The first one's shards are those with which the others are colocated.
_TABLES = [task_counters.name, *sorted(metadata.tables.keys() - {task_counters.name})]
_FOUND = Statement(
    name="distribution",
    sql="""
    SELECT
        p.logicalrelid::text AS name, p.colocationid, column_to_column_name(p.logicalrelid, p.partkey) AS key,
        s.shards, s.nodes
    FROM pg_dist_partition AS p, LATERAL (
        SELECT count(DISTINCT shardid) AS shards, count(DISTINCT groupid) AS nodes
        FROM pg_dist_shard JOIN pg_dist_placement USING (shardid) WHERE logicalrelid = p.logicalrelid
    ) AS s
    WHERE p.logicalrelid = ANY ($1::text[]::regclass[])
    """,
    is_read=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Over what the tables are distributed. `str()` says it."""

    shards: int
    nodes: int

    def __str__(self) -> str:
        shards, nodes = ("" if count == 1 else "s" for count in (self.shards, self.nodes))
        return f"{self.shards} shard{shards} on {self.nodes} node{nodes}"


async def distribution(database: Database) -> Distribution | None:
    """Return how the tables of a database that has Citus are distributed, or None where they are not.

    Raises DatabaseNotReady where they are in another way than that of `distribute`, and StorageUnavailable.
    """
    found = await database.fetch(_FOUND, [_names(database)])
    if not found:
        return None
    if len(found) < len(_TABLES) or {(row["key"], row["colocationid"]) for row in found} != {
        ("user_id", found[0]["colocationid"])
    }:
        raise DatabaseNotReady(
            "the tables are distributed in another way than hextasks distribute does: all by user_id, colocated. "
            "Undo it: SELECT undistribute_table('…');"
        )
    return Distribution(shards=found[0]["shards"], nodes=found[0]["nodes"])


async def distribute(database: Database) -> Distribution:
    """Distribute the tables by `user_id` over the nodes of the Citus cluster, or do nothing where they are.

    One transaction moves all rows that are stored. Until its end it holds an EXCLUSIVE lock on each table, under which
    writes wait and reads do not. Citus's setting `citus.shard_count` says how many shards there will be.

    Raises DatabaseNotReady for a database without Citus or at another revision, for a role that does not own the
    tables, and when a lock is not granted in time; and StorageUnavailable.
    """
    with rejections():
        found = await database.examine()
        if not found["has_citus"]:
            raise DatabaseNotReady(
                "the database is not in a Citus cluster. On each of its nodes run, as a superuser: "
                "CREATE EXTENSION citus; and add the workers on the coordinator: SELECT citus_add_node('host', 5432);"
            )
        state = await schema_state(database)
        if not state.is_current:
            raise DatabaseNotReady(
                f"the database is at revision {state.current or 'none'}, this version needs {state.head}. "
                "Run: hextasks migrate"
            )
        from adapters.postgres.migration_session import migration_session  # loads Alembic, which takes a while

        async with migration_session(database) as session:
            while not (distributed := await distribution(database)):
                async with session.begin():
                    await session.run_sync(_distribute, _names(database))
        return distributed


def _distribute(connection: Connection, tables: list[str]) -> None:
    first = tables[0]
    connection.exec_driver_sql(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE")
    for table in tables:
        other = "none" if table == first else first
        connection.exec_driver_sql(
            "SELECT create_distributed_table($1::text::regclass, 'user_id', colocate_with => $2)", (table, other)
        )
        connection.exec_driver_sql("SELECT truncate_local_data_after_distributing_table($1::text::regclass)", (table,))


def _names(database: Database) -> list[str]:
    return [f'"{database.schema}".{table}' if database.schema else table for table in _TABLES]
