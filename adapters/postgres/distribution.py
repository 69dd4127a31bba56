"""The distribution of the tables over the nodes of a Citus cluster, in shards by `user_id`."""

from dataclasses import dataclass

from adapters.postgres.database import Database
from adapters.postgres.migrations import DatabaseNotReady, rejections, schema_state
from adapters.postgres.statement import Statement
from adapters.postgres.tables import metadata, task_counters

_TABLES = [task_counters.name, *sorted(metadata.tables.keys() - {task_counters.name})]
_FOUND = Statement(
    name="distribution",
    sql="""
    SELECT given.name, p.colocationid, column_to_column_name(p.logicalrelid, p.partkey) AS key, s.shards, s.nodes
    FROM unnest($1::text[]) WITH ORDINALITY AS given (name, n)
    LEFT JOIN pg_dist_partition AS p ON p.logicalrelid = to_regclass(name)
    CROSS JOIN LATERAL (
        SELECT count(DISTINCT shardid) AS shards, count(DISTINCT groupid) AS nodes
        FROM pg_dist_shard JOIN pg_dist_placement USING (shardid) WHERE logicalrelid = p.logicalrelid
    ) AS s
    ORDER BY n
    """,
    is_read=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Over what the tables are distributed. `str()` says it."""

    shards: int
    nodes: int
    missing: tuple[str, ...] = ()
    """The tables that are not, because a later release has added them."""

    def __str__(self) -> str:
        shards, nodes = ("" if count == 1 else "s" for count in (self.shards, self.nodes))
        return f"{self.shards} shard{shards} on {self.nodes} node{nodes}"


async def distribution(database: Database) -> Distribution | None:
    """Return how the tables of a database that has Citus are distributed, or None where they are not.

    Raises DatabaseNotReady where they are in another way than that of `distribute`, and StorageUnavailable.
    """
    rows = await database.fetch(_FOUND, [tables_of(database)])
    found = [row for row in rows if row["key"] is not None]
    if not found:
        return None
    if {(row["key"], row["colocationid"]) for row in found} != {("user_id", rows[0]["colocationid"])}:
        raise DatabaseNotReady(
            "the tables are distributed in another way than that of hextasks distribute: all by user_id, colocated. "
            "Undo it: SELECT undistribute_table('…');"
        )
    missing = tuple(row["name"] for row in rows if row["key"] is None)
    return Distribution(shards=found[0]["shards"], nodes=found[0]["nodes"], missing=missing)


async def distribute(database: Database) -> Distribution:
    """Distribute the tables by `user_id` over the nodes of the Citus cluster, or do nothing where they are.

    One transaction copies all rows that are stored into the shards. Until its end it holds an EXCLUSIVE lock on each
    table, under which writes wait and reads do not. Then the rows outside of shards are deleted, table by table, under
    a short lock that reads wait for, too. Citus's setting `citus.shard_count` says how many shards there will be.

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
            raise DatabaseNotReady(state.difference)
        from adapters.postgres.distribution_session import distribute_tables  # loads Alembic, which takes a while

        return await distribute_tables(database)


def tables_of(database: Database) -> list[str]:
    """Return the names of the tables, the one with whose shards the others are colocated first."""
    return [f'"{database.schema}".{table}' if database.schema else table for table in _TABLES]
