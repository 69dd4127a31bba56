"""Several hosts in one URL: which one is used, and that connections never lead to two of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from adapters.postgres.dsn import connect_arguments, each_host
from adapters.postgres.hosts import Hosts
from tests.databases import patient
from tests.patience import DEADLINE_SECONDS, until
from tests.wires import Wire, free_port, through, wired

pytestmark = pytest.mark.database


@pytest.fixture
async def wires(server_url: str) -> AsyncIterator[tuple[Wire, Wire]]:
    """Two ways to one server, which stand for two servers that both accept writes."""
    async with AsyncExitStack() as stack:
        first, _ = await stack.enter_async_context(wired(server_url))
        second, _ = await stack.enter_async_context(wired(server_url))
        yield first, second


async def test_one_that_accepts_writes_is_chosen(server_url: str, wires: tuple[Wire, Wire]) -> None:
    database = patient(through(server_url, free_port(), wires[0].port))
    connection = await database.connect()
    assert await connection.fetchval("SHOW transaction_read_only") == "off"
    await connection.close()


async def test_a_silent_one_is_left_out_once_another_has_answered(server_url: str, wires: tuple[Wire, Wire]) -> None:
    silent, other = wires
    silent.cut()
    database = patient(through(server_url, silent.port, other.port))
    await (await database.connect()).close()
    silent.restore(and_deliver=False)
    await (await database.connect()).close()
    assert silent.forwarded == 0


async def test_one_that_comes_back_while_a_connection_is_opened_is_left_out(
    server_url: str, wires: tuple[Wire, Wire]
) -> None:
    old, new = wires
    hosts = Hosts(each_host(connect_arguments(through(server_url, old.port, new.port))), lambda _: None)
    connections = [await hosts.connect()]
    old.cut()
    new.cut()
    late = asyncio.create_task(hosts.connect())

    async def both_are_tried() -> bool:
        return len(old.clients) == 2 and len(new.clients) == 1

    await until(both_are_tried)
    new.restore(and_deliver=False)  # not for the attempt of `late`
    connections.append(await hosts.connect())
    old.restore(and_deliver=True)
    connections.append(await late)
    old.cut()
    assert [await one.fetchval("SELECT 1", timeout=DEADLINE_SECONDS) for one in connections[1:]] == [1, 1]
    for one in connections:
        one.terminate()


async def test_connections_to_the_one_that_was_left_are_replaced(server_url: str, wires: tuple[Wire, Wire]) -> None:
    old, new = wires
    database = patient(through(server_url, old.port, new.port))
    async with database.connection() as to_old:
        old.cut()
        async with database.connection(at_once=True) as to_new:
            assert await to_new.fetchval("SELECT 1") == 1
        old.restore(and_deliver=True)
        assert await to_old.fetchval("SELECT 1") == 1
    assert to_old.is_closed()
    await database.close()


async def test_one_that_rejects_a_connection_stays_in_use(server_url: str, wires: tuple[Wire, Wire]) -> None:
    first, second = wires
    hosts = Hosts(each_host(connect_arguments(through(server_url, first.port, second.port))), lambda _: None)
    await (await hosts.connect()).close()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await hosts.connect(database="missing")
    assert second.forwarded == 0
