"""Load and health probes on a service while its database comes and goes, and the judgement on both."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from math import inf

from tests.patience import until
from tests.torture.client import Event
from tests.torture.report import Finding, at_most, none_of
from tests.torture.storm import EVEN, LIST, READ, Prober, Storm

CALM_SECONDS = 0.5
"""Having gone so long without a failure, the service is taken as healed."""
Fault = Callable[[], AbstractAsyncContextManager[None]]
"""What happens to the database, from its beginning to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long things may take, in seconds."""

    answer: float = 2.0
    live: float = 0.5
    heal: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The fault was there from `since` to `until`; then it was undone, and the database takes connections `over`."""

    since: float
    until: float
    over: float


class Watch:
    """Load and probes on a service, and the times at which it had no database."""

    def __init__(self, address: str) -> None:
        self.storm = Storm(address, mix=EVEN, pause=0.01)
        self._prober = Prober(address)
        self._outages: list[Outage] = []

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        async with self._prober.probing(), self.storm.blowing():
            yield

    @asynccontextmanager
    async def outage(self, fault: Fault) -> AsyncIterator[None]:
        async with fault():
            since = time.monotonic()
            yield
            undone = time.monotonic()
        self._outages.append(Outage(since=since, until=undone, over=time.monotonic()))

    async def settled(self, *, at_most: float) -> None:
        """Wait until nothing has failed for a while, or for so long."""
        since = time.monotonic()

        async def calm() -> bool:
            last = max((event.ended for event in self._failures(since)), default=since)
            return time.monotonic() > min(last + CALM_SECONDS, since + at_most)

        await until(calm)

    def _failures(self, since: float, until: float = inf) -> list[Event]:
        """Return what failed in a time, requests and the question whether the service is ready."""
        both = (*self.storm.events, *self._prober.ready)
        return [event for event in both if event.is_failure and since <= event.ended < until]

    def findings(self, name: str, done: str, bounds: Bounds, wrong: list[str]) -> list[Finding]:
        """Judge the answers while the database was away, the probes, and the time until nothing failed any more."""
        events, scenario = self.storm.events, f"away, {name}"
        during = [event for event in events if any(o.since <= event.began < o.over for o in self._outages)]
        unfit = [event for event in events if event.is_failure and not event.is_refused_in_good_order]
        unfit += [event for event in self._prober.live if event.is_failure]
        unfit += [event for event in self._prober.ready if event.is_failure and not event.is_refused_in_good_order]
        if name == "read-only":
            unfit += [event for event in events if event.is_failure and event.kind in (READ, LIST)]
        if name != "full":  # when some connections are left, it may well be ready
            unfit += [
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
        faults: list[object] = [*unfit] if refused else ["nobody noticed the fault"]
        return [
            none_of(scenario, f"{done}; {len(during)} requests, {refused} refused", "unfit answers", faults),
            none_of(scenario, "what users were told against what is stored", "wrong", wrong),
            at_most(scenario, "answers meanwhile", [event.seconds for event in during], bounds.answer),
            at_most(scenario, "/health/live", [event.seconds for event in self._prober.live], bounds.live),
            at_most(scenario, "from the return to the last refusal", healed, bounds.heal),
        ]
