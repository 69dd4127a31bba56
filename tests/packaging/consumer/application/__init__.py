"""The bookshop's own use-case: each book of an order becomes a task of the customer's packer."""

from domain import Order
from hextasks import PageRequest, Task, Tasks


async def pack(order: Order, tasks: Tasks) -> tuple[Task, ...]:
    """Create the tasks, complete the first, and return those that are open."""
    packer = tasks.of(f"packer-of-{order.customer}")
    created = [await packer.create(f"Pack {book}") for book in order.books]
    await packer.complete(created[0].task.id, expected_version=created[0].task.version)
    return (await packer.list(PageRequest(completed=False))).tasks
