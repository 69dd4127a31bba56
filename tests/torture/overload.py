"""Four times the capacity: accepted requests keep their throughput, others are refused at once, probes stay fast."""

import os
import sys
import time
from pathlib import Path

from msgspec.structs import replace

from tests.torture.client import Client
from tests.torture.load import Order, Result, measured
from tests.torture.postgres import OwnPostgres
from tests.torture.report import Finding, at_most, none_of
from tests.torture.service import Service, cpu_seconds
from tests.torture.traffic import Prober

RAMP = (8, 16, 32, 64, 128, 256)
TIMES = 4
KEPT_SHARE = 0.8
"""Of its peak throughput."""


async def overload(
    folder: Path, postgres: OwnPostgres, *, limit: int, seconds: float, is_strict: bool
) -> list[Finding]:
    """Find the peak, then offer four times the connections that are admitted, and four times the peak's rate.

    The accepted rate is compared with the peak measured right before and after, because a machine has other work, too.
    Unless `is_strict`, only clients that do not wait are there, from the first moment, and no speed is required.
    """
    service = Service(folder, postgres, await postgres.new_database())
    findings: list[Finding] = []
    async with service.running(MAX_CONCURRENT_REQUESTS=str(limit)) as served:
        cores = _apart(served.process.pid, *postgres.processes()) if is_strict else set()
        anything = Order(
            address=service.address,
            connections=0,
            seconds=seconds,
            warm_up_seconds=seconds / 4 if is_strict else 0.0,
            cores=cores,
        )
        ramp = [
            replace(anything, connections=n, seconds=seconds / 2) for n in ([n for n in RAMP if n <= limit] or [limit])
        ]
        rates = [(await _offered(order)).rates["accepted"] for order in ramp]
        before = max(rates)
        at_peak = ramp[rates.index(before)]
        orders = {
            "patient": replace(anything, connections=TIMES * limit),
            "impatient": replace(anything, connections=TIMES * limit, is_patient=False),
            "open": replace(anything, connections=10 * limit, rate=TIMES * before),
        }
        for name, order in orders.items() if is_strict else [("impatient", orders["impatient"])]:
            prober = Prober(service.address)
            async with prober.probing():
                began, used = time.monotonic(), cpu_seconds(served.process.pid)
                found = await _offered(order)
                busy = (cpu_seconds(served.process.pid) - used) / (time.monotonic() - began)
            after = (await _offered(at_peak)).rates["accepted"] if is_strict else 0.0
            peak, before = (before + after) / 2, after
            findings += _findings(f"overload, {name}", peak, busy, found, prober, is_strict=is_strict)
        client = Client(service.address, "after")
        status = (await client.ask("POST", "", {"title": "Buy milk"})).status
        client.close()
    findings.append(none_of("overload", "a request afterwards", "refused", [status] if status != 201 else []))
    return findings


def _apart(*processes: int) -> set[int]:
    """Keep processes off one core, if there are several, and return it: the load generator must not slow them down."""
    all_cores = os.sched_getaffinity(0)
    if len(all_cores) == 1:
        return all_cores
    own = max(all_cores)
    for pid in processes:
        os.sched_setaffinity(pid, all_cores - {own})
    return {own}


def _findings(
    scenario: str, peak: float, busy: float, found: Result, prober: Prober, *, is_strict: bool
) -> list[Finding]:
    accepted, refused = found.rates.get("accepted", 0.0), found.rates.get("overloaded", 0.0)
    others = [f"{rate:.1f}/s {kind}" for kind, rate in found.rates.items() if kind not in ("accepted", "overloaded")]
    probes = [*prober.live, *prober.ready]
    findings = [
        Finding(
            scenario=scenario,
            done=f"{found.offered:.0f}/s offered, {found.unsent:.0f}/s not sent because all connections were busy",
            measured=f"{accepted:.0f}/s accepted, {refused:.0f}/s refused, with {busy:.2f} of a core",
            bound=f"{KEPT_SHARE:.0%} of the peak of {peak:.0f}/s" if is_strict else "some of each",
            kept=accepted > (KEPT_SHARE * peak if is_strict else 0) and refused > 0,
        ),
        none_of(scenario, "answers other than accepted and overloaded", "kinds", others),
        none_of(scenario, f"{len(probes)} probes", "refused", [event for event in probes if event.status != 200]),
    ]
    if is_strict:
        findings += [
            at_most(
                scenario, "/health/live", [event.seconds for event in prober.live], Prober.QUICK_SECONDS, share=0.99
            ),
            at_most(
                scenario, "/health/ready", [event.seconds for event in prober.ready], Prober.QUICK_SECONDS, share=0.99
            ),
        ]
        if "impatient" not in scenario:
            p99 = found.p99.get("overloaded", 0.0)
            findings.append(at_most(scenario, "p99 of the refusals", [p99], Prober.QUICK_SECONDS))
    return findings


async def _offered(order: Order) -> Result:
    """Offer a load, print and return the result."""
    found = await measured(order)
    how = f"{order.rate:.0f}/s over" if order.rate else "patient" if order.is_patient else "impatient"
    print(f"  {how} {order.connections} connections: {found}", file=sys.stderr, flush=True)
    return found
