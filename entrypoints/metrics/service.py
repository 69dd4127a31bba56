"""The metrics of a service: all numbers of this process, and of those that serve with it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

from application import ChangeSignal
from entrypoints.http.server.layer import ExchangeLayer
from entrypoints.log_writer import LogWriter
from entrypoints.metrics.observers import RequestMetrics, StatementMetrics
from entrypoints.metrics.samples import Sample, Source, added_up
from entrypoints.metrics.shared import PUBLISH_SECONDS, SharedFolder
from entrypoints.metrics.sources import database_samples, feed_samples, log_samples, process_samples, server_samples
from entrypoints.metrics.text import exposition
from entrypoints.storage import ReadyStorage, Storage

if TYPE_CHECKING:
    from adapters.postgres import PostgresStorage


class ServiceMetrics:
    """The numbers of this process and, with a folder, of all processes that share it."""

    def __init__(self, folder: Path | None = None) -> None:
        """Begin to count; of several processes, each publishes its numbers in the folder."""
        self.requests, self.statements = RequestMetrics(), StatementMetrics()
        self._sources: list[Source] = [self.requests.samples, self.statements.samples, process_samples]
        self._shared = SharedFolder(folder) if folder else None

    def watch(self, layer: ExchangeLayer, signal: ChangeSignal, storage: Storage) -> None:
        """Read numbers of the parts of an application from now on."""
        self._sources += [partial(server_samples, layer), partial(feed_samples, signal)]
        if not isinstance(storage, ReadyStorage):
            self._sources.append(partial(database_samples, cast("PostgresStorage", storage)))

    def watch_log(self, writer: LogWriter) -> None:
        """Read numbers of the log from now on."""
        self._sources.append(partial(log_samples, writer))

    def exposition(self, *, is_open_metrics: bool) -> bytes:
        """Return all numbers as text. Raises OSError where those of several processes cannot be exchanged."""
        if self._shared is None:
            return exposition(added_up(self._samples()), is_open_metrics=is_open_metrics)
        self._shared.publish(self._samples())  # first, so that what was shown once is not lost
        return exposition(self._shared.total(), is_open_metrics=is_open_metrics)

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Publish the numbers for the time of the block, and once more at its end; of one process, nothing."""
        if self._shared is None:
            yield
            return
        publisher = asyncio.create_task(self._publish_always(self._shared))
        try:
            yield
        finally:
            publisher.cancel()
            with suppress(OSError):
                self._shared.close(self._samples())

    async def _publish_always(self, shared: SharedFolder) -> None:
        while True:
            with suppress(OSError):  # which the next scrape reports
                shared.publish(self._samples())
            await asyncio.sleep(PUBLISH_SECONDS)

    def _samples(self) -> Iterator[Sample]:
        return chain.from_iterable(source() for source in self._sources)
