"""Traffic and health probes on a service during outages of its database, and the findings on both."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from math import inf

from tests.patience import until
from tests.torture.client import Event
from tests.torture.report import Finding, at_most, none_of
from tests.torture.traffic import EVEN, LIST, READ, Prober, Traffic

CALM_SECONDS = 0.5
"""A service without a failure for so long counts as recovered."""
Fault = Callable[[], AbstractAsyncContextManager[None]]
"""What happens to the database, for as long as the context lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long things may take, in seconds, and how often clients ask."""

    answer: float = 2.0
    live: float = Prober.QUICK_SECONDS
    heal: float = 2.0
    pause: float = 0.01
    """Between two requests of a client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The fault lasted from `since` to `until`; it was then undone, and `over` is when the database was available."""

    since: float
    until: float
    over: float


class Watch:
    """Traffic and probes on a service, and the times of the outages."""

    def __init__(self, address: str, *, pause: float) -> None:
        self.traffic = Traffic(address, mix=EVEN, pause=pause)
        self._prober = Prober(address)
        self._outages: list[Outage] = []

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        async with self._prober.probing(), self.traffic.running():
            yield

    @asynccontextmanager
    async def outage(self, fault: Fault) -> AsyncIterator[None]:
        async with fault():
            since = time.monotonic()
            yield
            undone = time.monotonic()
        self._outages.append(Outage(since=since, until=undone, over=time.monotonic()))

    async def settled(self, *, at_most: float) -> None:
        """Wait until the service has recovered, but no longer than `at_most` seconds."""
        since = time.monotonic()

        async def calm() -> bool:
            last = max((event.ended for event in self._failures(since)), default=since)
            return time.monotonic() > min(last + CALM_SECONDS, since + at_most)

        await until(calm)

    def _failures(self, since: float, until: float = inf) -> list[Event]:
        """Return the requests and readiness probes that failed in a period."""
        both = (*self.traffic.events, *self._prober.ready)
        return [event for event in both if event.is_failure and since <= event.ended < until]

    def findings(self, name: str, done: str, bounds: Bounds, wrong: list[str]) -> list[Finding]:
        """Check the answers during the outages, the probes, and the time to recover."""
        events, scenario = self.traffic.events, f"outage, {name}"
        during = [event for event in events if any(o.since <= event.began < o.over for o in self._outages)]
        invalid = [event for event in events if event.is_failure and not event.is_retryable]
        invalid += [event for event in self._prober.live if event.is_failure]
        invalid += [event for event in self._prober.ready if event.is_failure and not event.is_retryable]
        if name == "read-only":
            invalid += [event for event in events if event.is_failure and event.kind in (READ, LIST)]
        if name != "full":  # where some connections remain, it may be ready
            invalid += [
                event
                for event in self._prober.ready
                if not event.is_failure and any(o.since < event.began and event.ended < o.until for o in self._outages)
            ]
        ends = [*(outage.since for outage in self._outages[1:]), inf]
        healed = [
            max((event.ended - outage.over for event in self._failures(outage.over, end)), default=0.0)
            for outage, end in zip(self._outages, ends, strict=True)
        ]
        refused = sum(event.is_failure for event in during)
        faults: list[object] = [*invalid] if refused else ["the fault had no effect"]
        return [
            none_of(scenario, f"{done}; {len(during)} requests, {refused} refused", "invalid answers", faults),
            none_of(scenario, "acknowledged and stored states compared", "wrong", wrong),
            at_most(scenario, "answers during the outage", [event.seconds for event in during], bounds.answer),
            at_most(scenario, "/health/live", [event.seconds for event in self._prober.live], bounds.live),
            at_most(scenario, "from the end of the outage to the last failure", healed, bounds.heal),
        ]
