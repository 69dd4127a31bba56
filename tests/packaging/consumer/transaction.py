"""The bookshop beside tasks in one transaction: `python transaction.py URL`."""

import asyncio
import sys

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import application
import hextasks
from domain import Order
from hextasks.postgres import Database, migrate


async def main(url: str) -> None:
    """Migrate the database, and pack two orders, of which one is given up."""
    database = Database(url)
    await migrate(database)
    await database.close()
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(text("CREATE TABLE orders (customer text)"))
    for customer, is_kept in (("ada", False), ("grace", True)):
        async with AsyncSession(engine) as session, hextasks.open_tasks(session) as tasks:
            await session.execute(text("INSERT INTO orders VALUES (:customer)"), {"customer": customer})
            await application.pack(Order(customer, ("Emma", "Ulysses")), tasks)
            await (session.commit() if is_kept else session.rollback())
    async with engine.connect() as connection:
        print((await connection.scalars(text("SELECT customer FROM orders"))).all())
    async with hextasks.open_tasks(engine) as tasks:
        print([len((await tasks.of(f"packer-of-{name}").list()).tasks) for name in ("ada", "grace")])
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
