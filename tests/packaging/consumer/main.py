"""The bookshop: `python main.py URL` packs an order."""

import asyncio
import sys

import application
import domain
import hextasks


async def main(url: str) -> None:
    """Pack an order with tasks at a URL, and print what is left to do."""
    order = domain.Order("ada", ("Emma", "Ulysses"))
    async with hextasks.open_tasks(url) as tasks:
        left = await application.pack(order, tasks)
        try:
            await tasks.of("ada").create("")
        except hextasks.HextasksError as error:
            print(error)
    print(*(f"{task.user_id}: {task.title}" for task in left), sep="\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
