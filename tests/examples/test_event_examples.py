"""The examples that use events, over a database, a mail server and a Redis server."""

import asyncio
import smtplib
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from docs.examples import digest
from hextasks import SqlitePositions, TaskEvent, Tasks, open_tasks
from tests.databases import Server, migrated
from tests.patience import until

pytestmark = pytest.mark.database


@pytest.fixture
async def url(server: Server) -> str:
    return await migrated(server)


@pytest.fixture
async def tasks(url: str) -> AsyncIterator[Tasks]:
    async with open_tasks(url) as tasks:
        yield tasks


class Mailbox:
    """Accepts mails, or fails after it has accepted one."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.recipients: list[str] = []
        self.fails = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(message_from_bytes(envelope.content))
        self.recipients += envelope.rcpt_tos
        return "451 The disk is full" if self.fails else "250 OK"

    def texts(self) -> dict[str, str]:
        return {mail["To"]: str(mail.get_payload()).strip() for mail in self.mails}


@pytest.fixture
async def mail_server() -> AsyncIterator[tuple[Mailbox, str]]:
    from aiosmtpd.smtp import SMTP

    mailbox = Mailbox()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(mailbox), "127.0.0.1", 0)
    async with server:
        yield mailbox, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_the_digest_has_each_event_and_is_sent_again_if_it_may_be_lost(
    url: str, tasks: Tasks, mail_server: tuple[Mailbox, str], tmp_path: Path
) -> None:
    mailbox, address = mail_server

    async def run() -> dict[str, str]:
        mailbox.mails.clear()
        await asyncio.to_thread(digest.main, url, str(tmp_path), address, "{user_id}@example.org")
        return mailbox.texts()

    milk = (await tasks.of("ada").create("Buy milk")).task
    await tasks.of("grace").create("Buy bread")
    first = {"ada@example.org": "created: Buy milk", "grace@example.org": "created: Buy bread"}
    mailbox.fails = True
    with pytest.raises(smtplib.SMTPException):
        await run()
    failed, *_ = mailbox.mails
    mailbox.fails = False
    assert await run() == first
    assert failed["Message-ID"] in [mail["Message-ID"] for mail in mailbox.mails]
    assert await run() == {}
    await tasks.of("ada").complete(milk.id)
    assert await run() == {"ada@example.org": "completed: Buy milk"}


async def test_no_user_id_is_an_address_of_somebody_else_or_keeps_others_from_their_mail(
    url: str, tasks: Tasks, mail_server: tuple[Mailbox, str], tmp_path: Path
) -> None:
    mailbox, address = mail_server
    for user in ("Zoë", "eve@example.com, ada", 'ada" <eve@example.com>, "', "grace"):
        await tasks.of(user).create("Buy milk")
    with pytest.raises(smtplib.SMTPNotSupportedError):  # this server takes ASCII only
        await asyncio.to_thread(digest.main, url, str(tmp_path), address, "{user_id}@example.org")
    assert sorted(mailbox.recipients) == [
        r'"ada\" <eve@example.com>, \""@example.org',
        '"eve@example.com, ada"@example.org',
        "grace@example.org",
    ]


@pytest.fixture
def redis_url() -> Iterator[str]:
    from fakeredis import TcpFakeServer

    server = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"redis://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


async def test_the_stream_has_each_event_once(url: str, tasks: Tasks, redis_url: str, tmp_path: Path) -> None:
    from redis.asyncio import Redis
    from redis.exceptions import ResponseError

    from docs.examples import redis_stream

    file = str(tmp_path / "positions")
    redis: Any
    async with Redis.from_url(redis_url, decode_responses=True) as redis:

        async def run(count: int) -> list[tuple[Any, Any]]:
            """Run the example until the stream has some entries, and return them."""
            running = asyncio.create_task(redis_stream.main(url, file, redis_url))

            async def has_come() -> bool:
                if running.done():
                    await running
                return bool(await redis.xlen("tasks:ada") == count)

            await until(has_come)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            entries = await redis.xrange("tasks:ada")
            return [(entry_id, fields["kind"]) for entry_id, fields in entries]

        milk = (await tasks.of("ada").create("Buy milk")).task
        await tasks.of("ada").complete(milk.id)
        with SqlitePositions(file) as positions:
            first = await anext(tasks.follow(positions))
        await redis_stream.publish(first, redis)  # and the process is killed
        assert await run(2) == [("2-0", "created"), ("2-1", "completed")]
        await tasks.of("ada").delete(milk.id)
        assert (await run(3))[2:] == [("3-0", "deleted")]
        ((_, fields),) = await redis.xrange("tasks:ada", min="2-0", max="2-0")
        assert first == TaskEvent.from_dict(fields | {name: int(fields[name]) for name in ("epoch", "version", "part")})
        other = TaskEvent.from_dict(first.as_dict() | {"title": "Buy bread"})
        with pytest.raises(ResponseError):
            await redis_stream.publish(other, redis)
