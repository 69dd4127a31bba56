"""The hosts of a URL, one of which is in use."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import asyncpg

HEAD_START_SECONDS = 0.5
"""How long a host may take to answer before the next one is tried, too."""

Arguments = dict[str, Any]


class Hosts:
    """Connects to one host for as long as it responds, so that connections never lead to different servers.

    A primary that was silent and comes back may still accept writes, though a standby has taken over.
    """

    def __init__(self, hosts: list[Arguments], on_move: Callable[[float], None]) -> None:
        """Take the arguments for each host.

        `on_move` is called when another one comes into use: connections that were begun before that time, of the
        monotonic clock, lead to the old one.
        """
        self._hosts = hosts  # the one in use stands first
        self._on_move = on_move
        self._connected = 0  # how many times

    async def connect(self, **options: Any) -> asyncpg.Connection:
        """Connect to the host in use, or to the first other one that fits. Raises the driver's errors."""
        if len(self._hosts) == 1:
            return await asyncpg.connect(**self._hosts[0], **options)
        while True:
            began, connected = monotonic(), self._connected
            connection, host = await self._connect_first(options)
            if connected == self._connected or host is self._hosts[0]:
                break
            connection.terminate()  # another one has come into use meanwhile
        if host is not self._hosts[0]:
            self._hosts.remove(host)
            self._hosts.insert(0, host)
            if connected:
                self._on_move(began)
        self._connected += 1
        return connection

    async def _connect_first(self, options: Arguments) -> tuple[asyncpg.Connection, Arguments]:
        """Connect to the first host that fits. Raises the error of a host that is at fault.

        The next host is tried as soon as one fails, or after its head start: a machine without power refuses nothing.
        """
        in_use = self._hosts[0] if self._connected else None
        waiting = [*reversed(self._hosts)]
        attempts: dict[asyncio.Task[asyncpg.Connection], Arguments] = {}
        failure: BaseException | None = None
        try:
            while waiting or attempts:
                if waiting:
                    host = waiting.pop()
                    attempts[asyncio.create_task(asyncpg.connect(**host, **options))] = host
                head_start = HEAD_START_SECONDS if waiting else None
                done, _ = await asyncio.wait(attempts, timeout=head_start, return_when=asyncio.FIRST_COMPLETED)
                for attempt in done:
                    host = attempts.pop(attempt)
                    error = attempt.exception()
                    if not error:
                        return attempt.result(), host
                    if host is in_use and _is_up(error):
                        raise error
                    if not failure or not isinstance(error, asyncpg.TargetServerAttributeNotMatched):  # a sound standby
                        failure = error
            raise failure or AssertionError("there is no host")
        finally:
            for attempt in attempts:
                attempt.add_done_callback(_discard)
                attempt.cancel()


def _is_up(error: BaseException) -> bool:
    """Return whether a server that is neither starting nor stopping nor a standby has rejected the connection."""
    return isinstance(error, asyncpg.PostgresError) and not (error.sqlstate or "").startswith("57")


def _discard(attempt: "asyncio.Task[asyncpg.Connection]") -> None:
    if not attempt.cancelled() and not attempt.exception():
        attempt.result().terminate()
