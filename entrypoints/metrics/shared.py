"""The numbers of several server processes, which each writes to a folder of theirs."""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path

import msgspec

from entrypoints.metrics.samples import Sample, added_up, cumulative
from entrypoints.metrics.table import Labels, Metric

PUBLISH_SECONDS = 1.0
"""How old the numbers of other processes may be, and how many are lost when a process is killed."""
STALE_SECONDS = 10.0
"""After this time without numbers, a process no longer counts as running."""


class _Published(msgspec.Struct, array_like=True):
    at: float
    """In the time of `time.monotonic`, which all processes have in common."""
    samples: list[Sample]


_decode = msgspec.json.Decoder(_Published).decode


class SharedFolder:
    """One process's place in the folder, for as long as it runs.

    A process takes the place of one that has ended, and adds its numbers to those that this one has counted, so that no
    counter ever falls.
    """

    def __init__(self, folder: Path) -> None:
        """Take the first free place."""
        self._folder = folder
        for number in count():
            self._lock = os.open(folder / f"{number}.lock", os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process ends
            except BlockingIOError:
                os.close(self._lock)
            else:
                break
        self._file = folder / f"{number}.json"
        self._before = [*cumulative(_decode(self._file.read_bytes()).samples)] if self._file.exists() else []

    def publish(self, samples: Iterable[Sample]) -> None:
        """Write the numbers of this process, and those that it began with. Raises OSError."""
        now = added_up([*self._before, *samples])
        mine = [
            Sample(metric.name, labels, numbers) for metric, series in now.items() for labels, numbers in series.items()
        ]
        new = self._file.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(_Published(time.monotonic(), mine)))
        new.replace(self._file)

    def close(self, samples: Iterable[Sample]) -> None:
        """Write the last numbers of this process, which no longer counts as running, and release its place."""
        try:
            self.publish(cumulative(samples))
        finally:
            os.close(self._lock)

    def total(self) -> dict[Metric, dict[Labels, list[float]]]:
        """Return what all processes have published, added up; gauges of those that run only. Raises OSError."""
        return added_up(chain.from_iterable(self._all()))

    def _all(self) -> Iterator[Iterable[Sample]]:
        for file in sorted(self._folder.glob("*.json")):
            published = _decode(file.read_bytes())
            is_running = published.at > time.monotonic() - STALE_SECONDS
            yield published.samples if is_running else cumulative(published.samples)
