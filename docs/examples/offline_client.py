"""A client that works offline: a replica of one user's tasks in SQLite, kept equal to the server's.

    TOKEN=… python offline_client.py http://127.0.0.1:8000 grace tasks.db

The table `tasks` has the server's tasks, and only the change feed writes to it. A change made here enters `queue`, and
`Replica.tasks` shows the queue on top of the server's tasks. So a rejected change needs no undoing, and a change made
elsewhere never hides one that is still queued. A queued change is sent until it is answered, always with the same
idempotency key, and leaves the queue when the feed contains it. Conflicts are resolved by three rules:

- A change to a task that was deleted elsewhere is rejected: the deletion wins.
- An edit of a task that was edited elsewhere is sent again for the newest version, with only the fields that were
  edited here: edits of different fields are both kept, and of two titles the last to arrive is.
- A deletion of a task that was edited elsewhere, by an edit not yet seen here, is rejected: the edit wins.

A rejected change stays in the queue, without effect, for the user to see. Each step is one transaction, so that the
process may be killed at any point. A file is for one process at a time. It needs Python 3.11 and httpx.
"""

import asyncio
import json
import os
import random
import secrets
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx

Task = dict[str, Any]
SCHEMA = """
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE IF NOT EXISTS tasks (id TEXT PRIMARY KEY, version INT, task TEXT);
CREATE TABLE IF NOT EXISTS queue (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, id TEXT, fields TEXT,
    key TEXT,  -- the idempotency key
    version INT,  -- the one to change; when done, the one that the change has led to
    outcome TEXT);  -- NULL: not yet answered; otherwise 'done', or the code of the error
CREATE TABLE IF NOT EXISTS feed (token TEXT);  -- how far `tasks` has followed the feed; empty: not at all
INSERT INTO feed SELECT '' WHERE NOT EXISTS (SELECT * FROM feed);
"""
ENQUEUE = """
INSERT INTO queue (key, kind, id, fields, version) SELECT ?1, ?2, ?3, ?4, max(version)
FROM (SELECT version FROM tasks WHERE id = ?3 UNION ALL SELECT version FROM queue WHERE id = ?3)
"""
UNANSWERED = "SELECT number, key, kind, id, fields, version FROM queue WHERE outcome IS NULL ORDER BY number"
SHOWN = "SELECT kind, id, fields FROM queue WHERE outcome IS NULL OR outcome = 'done' ORDER BY number"
# A change is made for the newest version known here, which is the one that an earlier change here has led to.
REBASE = "UPDATE queue SET version = ?1 WHERE id = ?2 AND version IS ?3 AND outcome IS NULL"
CALLS = {"create": ("POST", ""), "edit": ("PUT", "/{id}"), "delete": ("DELETE", "/{id}")}
NOT_NOW = {401, 403, 408, 425, 429, *range(500, 600)}  # after these, a request is sent again later, with a new token
TIMEOUT_SECONDS = 40.0  # of requests, and of a silent event stream: the server sends a ping every 15 seconds
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0


class Replica:
    """One user's tasks. `create`, `edit` and `delete` work offline; `run` exchanges changes with the server."""

    def __init__(self, path: str, url: str, user: str, token: Callable[[], str]) -> None:
        """Open or create the file at `path`. `token` returns a token for the next request."""

        def authorize(request: httpx.Request) -> httpx.Request:
            request.headers["Authorization"] = f"Bearer {token()}"
            return request

        tasks, hooks = f"{url}/api/{quote(user, safe='')}/tasks", {"response": [self._check]}
        self._http = httpx.AsyncClient(base_url=tasks, auth=authorize, event_hooks=hooks, timeout=TIMEOUT_SECONDS)
        self._db = sqlite3.connect(path)
        self._db.executescript(SCHEMA)
        self._is_queued = asyncio.Event()
        self._step = asyncio.Lock()
        self._pause = FIRST_PAUSE_SECONDS

    def tasks(self) -> dict[str, Task]:
        """Return the tasks by id, oldest first, with the changes made here."""
        tasks: dict[str, Task] = {id: json.loads(task) for id, _, task in self._sql("SELECT * FROM tasks ORDER BY id")}
        for kind, id, fields in self._sql(SHOWN):
            if kind == "create":
                tasks.setdefault(id, {"is_completed": False} | json.loads(fields))
            elif kind == "edit" and id in tasks:
                tasks[id] |= json.loads(fields)
            elif kind == "delete":
                tasks.pop(id, None)
        return tasks

    def create(self, title: str) -> str:
        """Create a task and return its id."""
        id = uuid7()
        self._enqueue("create", id, {"id": id, "title": title})
        return id

    def edit(self, id: str, **fields: str | bool) -> None:
        """Change `title`, `is_completed` or both."""
        self._enqueue("edit", id, fields)

    def delete(self, id: str) -> None:
        """Delete a task."""
        self._enqueue("delete", id, {})

    def _enqueue(self, kind: str, id: str, fields: Task) -> None:
        with self._db:
            self._sql(ENQUEUE, secrets.token_hex(16), kind, id, json.dumps(fields))
        self._is_queued.set()

    async def run(self) -> None:
        """Exchange changes with the server, until cancelled."""
        while True:
            try:
                await self.push()
                await self.pull()
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._push_when_queued())
                    both.create_task(self._follow())
            except* httpx.HTTPError:  # no connection, no answer, or NOT_NOW
                await asyncio.sleep(self._pause * random.uniform(1.0, 1.5))
                self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    async def close(self) -> None:
        """Close the file and the connections."""
        self._db.close()
        await self._http.aclose()

    async def push(self) -> None:
        """Send the queue in its order, each change until it is answered."""
        self._is_queued.clear()
        while row := self._sql(UNANSWERED).fetchone():
            number, key, kind, id, fields, version = row
            headers = {"Idempotency-Key": f'"{key}"'} | ({} if version is None else {"If-Match": f'"{version}"'})
            method, path = CALLS[kind]
            body = json.loads(fields) or None
            answer = await self._http.request(method, path.format(id=id), headers=headers, json=body)
            content = answer.json() if answer.content else {}
            with self._db:
                if answer.is_success:
                    new = content.get("version")
                    self._sql("UPDATE queue SET version = ?, outcome = 'done' WHERE number = ?", new, number)
                    self._sql(REBASE, new, id, version)
                elif answer.status_code == 412 and kind == "edit":
                    newest = content["current_version"] or version
                    self._sql("UPDATE queue SET version = ? WHERE number = ?", newest, number)
                else:
                    self._sql("UPDATE queue SET outcome = ? WHERE number = ?", content["code"], number)

    async def pull(self) -> None:
        """Follow the feed to its end, page by page; from its beginning where the token has expired."""
        while True:
            token = self._token()
            answer = await self._http.request("GET", "/changes", params={"since": token} if token else {})
            with self._db:
                if answer.status_code == 410:
                    self._begin_again()
                    continue
                page = answer.raise_for_status().json()
                self._apply(page["changes"], page["next"])
                if not page["has_more"]:
                    self._sql("DELETE FROM tasks WHERE version = 0")
                    self._sql("DELETE FROM queue WHERE outcome = 'done'")
                    return

    def _begin_again(self) -> None:
        """Follow the feed from its beginning; tasks that it does not contain are deleted at its end."""
        self._sql("UPDATE tasks SET version = 0")
        self._sql("UPDATE feed SET token = ''")

    def _apply(self, changes: list[dict[str, Any]], token: str) -> None:
        for change in changes:
            if change["op"] == "put":
                row = change["task"]["id"], change["task"]["version"], json.dumps(change["task"])
                self._sql("REPLACE INTO tasks VALUES (?, ?, ?)", *row)
                self._sql("DELETE FROM queue WHERE outcome = 'done' AND id = ? AND version <= ?", *row[:2])
            else:
                self._sql("DELETE FROM tasks WHERE id = ?", change["id"])
                self._sql("DELETE FROM queue WHERE outcome = 'done' AND id = ?", change["id"])
        self._sql("UPDATE feed SET token = ?", token)

    async def _push_when_queued(self) -> None:
        while await self._is_queued.wait():
            async with self._step:
                await self.push()

    async def _follow(self) -> None:
        """Apply changes as they happen. Raises httpx.HTTPError when the stream ends."""
        async with self._http.stream("GET", "/events", headers={"Last-Event-ID": self._token()}) as answer:
            async for event in events(answer):
                if "retry" in event:  # the first has it: the connection is established
                    self._pause = int(event["retry"]) / 1000
                async with self._step:  # so that the feed contains no change of the queue before its answer is noted
                    with self._db:
                        if event.get("event") == "change":
                            self._apply([json.loads(event["data"])], event["id"])
                        elif event.get("event") == "resync":
                            self._begin_again()
                            break
        raise httpx.ReadError("the stream has ended")

    async def _check(self, answer: httpx.Response) -> None:
        """Raise where a request is to be sent again later, at the earliest when the server says."""
        if answer.status_code in NOT_NOW:
            if (retry_after := answer.headers.get("Retry-After", "")).isdecimal():
                self._pause = max(self._pause, float(retry_after))
            answer.raise_for_status()

    def _token(self) -> str:
        return str(self._sql("SELECT token FROM feed").fetchone()[0])

    def _sql(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._db.execute(statement, values)


async def events(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """Read server-sent events by their fields: `event`, `id`, `data`, which is one line here, and `retry`."""
    rest = ""
    async for text in answer.aiter_text():  # not aiter_lines, which also splits at U+2028 within a title
        *blocks, rest = (rest + text).split("\n\n")
        for block in blocks:
            fields = (line.partition(":") for line in block.split("\n"))
            yield {name: value.removeprefix(" ") for name, _, value in fields}


def uuid7() -> str:
    """Return a new id; a later one is greater (RFC 9562, with fractions of a millisecond)."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    first = milliseconds << 16 | 7 << 12 | rest * 4096 // 1_000_000
    return str(UUID(int=first << 64 | 2 << 62 | secrets.randbits(62)))


async def main(url: str, user: str, path: str) -> None:
    """Read commands from standard input: `+ TITLE`, `x ID`, `- ID`; each lists the tasks."""
    replica = Replica(path, url, user, token=lambda: os.environ["TOKEN"])
    running = asyncio.create_task(replica.run())
    commands: dict[str, Callable[[str], object]] = {"+": replica.create, "-": replica.delete}
    commands["x"] = lambda key: replica.edit(key, is_completed=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, _, rest = line.rstrip("\n").partition(" ")
        if command in commands:
            commands[command](rest)
        for id, task in replica.tasks().items():
            print(id, "x" if task["is_completed"] else " ", task["title"], flush=True)
    running.cancel()
    await replica.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would wait for the next line
    asyncio.run(main(*sys.argv[1:]))
