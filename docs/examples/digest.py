"""Mails each user a digest of what has happened to their tasks since the last one.

For cron, once a day:

    python digest.py postgresql://… /var/lib/digest mail.example.org:25 '{user_id}@example.org'

The folder keeps how far the events were read (`positions`), and what was not yet mailed (`news`). A process that is
killed loses nothing: an event that comes again is in `news` already, by its id; a mail that may have been sent is sent
again, with the same Message-ID. One process at a time. The first digest lists all tasks.
"""

import asyncio
import os
import smtplib
import sqlite3
import sys
from contextlib import closing
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path

from hextasks import SqlitePositions, open_tasks

REJECTED = (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError, smtplib.SMTPNotSupportedError)
SCHEMA = "CREATE TABLE IF NOT EXISTS news (user_id TEXT, event_id TEXT, line TEXT, UNIQUE (user_id, event_id))"


async def collect(url: str, file: Path, news: sqlite3.Connection) -> None:
    """Note the events until now. Each is committed before the next one is asked for."""
    with SqlitePositions(file) as positions:
        async with open_tasks(url) as tasks:
            async for event in tasks.follow(positions, wait=False):
                row = (event.user_id, event.id, f"{event.kind}: {event.title}")
                with news:
                    news.execute("INSERT OR IGNORE INTO news VALUES (?, ?, ?)", row)


def mail(news: sqlite3.Connection, smtp: smtplib.SMTP, recipient: str) -> None:
    """Send one mail to each user with news, and forget these once the server has accepted it.

    A rejected mail does not keep the others from being sent, and is sent again the next time. Raises the last
    rejection, after all mails.
    """
    rejection = None
    name, _, domain = recipient.rpartition("@")
    for (user_id,) in news.execute("SELECT DISTINCT user_id FROM news").fetchall():
        sql = "SELECT event_id, line FROM news WHERE user_id = ? ORDER BY rowid"
        event_ids, lines = zip(*news.execute(sql, (user_id,)), strict=True)
        message = EmailMessage()
        message["From"] = "tasks@example.org"
        message["Subject"] = f"Your tasks: {len(lines)} news"
        message["Message-ID"] = f"<{event_ids[-1]}@tasks.example.org>"
        message.set_content("\n".join(lines))
        try:
            # As one address, for an id may be "eve@example.com, ada".
            message["To"] = Address(username=name.format(user_id=user_id), domain=domain)
            smtp.send_message(message)
        except (*REJECTED, ValueError) as error:
            rejection = error
            continue
        with news:
            news.execute("DELETE FROM news WHERE user_id = ?", (user_id,))
    if rejection:
        raise rejection


def main(url: str, folder: str, server: str, recipient: str) -> None:
    """Mail what has happened."""
    host, _, port = server.rpartition(":")
    with closing(sqlite3.connect(Path(folder, "news"))) as news:
        news.execute(SCHEMA)
        asyncio.run(collect(url, Path(folder, "positions"), news))
        with smtplib.SMTP(host, int(port)) as smtp:
            mail(news, smtp, recipient)


if __name__ == "__main__":
    os.umask(0o077)  # for the files, which have titles
    main(*sys.argv[1:])
