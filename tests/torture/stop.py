"""SIGTERM under load: accepted requests are answered, others have no effect, and the service ends in time."""

import asyncio
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from tests.patience import until
from tests.torture.client import NOT_SENT, Client, Event
from tests.torture.postgres import OwnPostgres, blocked_by
from tests.torture.report import Finding, at_most, none_of
from tests.torture.service import Service
from tests.torture.traffic import Prober, Traffic, everything

SLOW_SECONDS = 1.0
"""How long one request takes after the signal."""
LOCK = "SELECT 1 FROM task_counters WHERE user_id = $1 FOR UPDATE"


@dataclass(slots=True)
class _Seen:
    """The results of all stops."""

    unready: list[float] = field(default_factory=list)
    """Seconds from the signal until the service was no longer ready."""
    ended: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    accepted_late: list[Event] = field(default_factory=list)
    invalid: list[Event] = field(default_factory=list)
    requests: int = 0
    refused: int = 0
    unanswered: int = 0


async def stop(folder: Path, postgres: OwnPostgres, *, rounds: int) -> list[Finding]:
    """Stop a service of one process, and one of two, whose parent passes the signal on within half a second."""
    one = await stops(folder, postgres, processes=1, rounds=rounds, notice=0.5, grace=5.0, pause=0.005)
    return one + await stops(folder, postgres, processes=2, rounds=rounds, notice=1.5, grace=5.0, pause=0.005)


async def stops(
    folder: Path, postgres: OwnPostgres, *, processes: int, rounds: int, notice: float, grace: float, pause: float
) -> list[Finding]:
    """Stop it `rounds` times. It must accept nothing after `notice` seconds, and end within `grace` seconds.

    Clients pause for `pause` seconds between two requests.
    """
    database = await postgres.new_database()
    service = Service(folder, postgres, database)
    seen = _Seen()
    for _ in range(rounds):
        await _stop(service, postgres, database, processes, notice, pause, seen)
    scenario = f"stop, {processes} process{'es' * (processes > 1)}"
    done = f"{rounds} of SIGTERM; after them {seen.requests} requests, {seen.refused} refused, "
    done += f"{seen.unanswered} connections closed unanswered"
    return [
        none_of(scenario, done, "unanswered, lost, or done without an answer", seen.wrong),
        none_of(scenario, f"requests more than {notice:g} s later", "accepted", seen.accepted_late),
        none_of(scenario, "refusals", "invalid answers", seen.invalid),
        at_most(scenario, "until /health/ready is 503", seen.unready, notice),
        at_most(scenario, f"until it ended, with one request of {SLOW_SECONDS:g} s", seen.ended, grace),
    ]


async def _stop(
    service: Service, postgres: OwnPostgres, database: str, processes: int, notice: float, pause: float, seen: _Seen
) -> None:
    traffic, prober, slow = (
        Traffic(service.address, pause=pause),
        Prober(service.address),
        Client(service.address, "slow"),
    )
    title = f"slow {uuid4()}"
    running = service.running(WEB_CONCURRENCY=str(processes), DATABASE_TIMEOUT="4", REQUEST_TIMEOUT="15")
    async with running as served, postgres.admin(database) as admin, traffic.running(), prober.probing():
        await traffic.acknowledges()
        first = await slow.ask("POST", "", {"title": "first"})
        assert first.status == 201, first.body
        async with admin.transaction():
            await admin.execute(LOCK, "slow")
            at_work = asyncio.create_task(slow.ask("POST", "", {"title": title}))

            async def waits() -> bool:
                return at_work.done() or await blocked_by(admin) > 0

            await until(waits)
            served.process.send_signal(signal.SIGTERM)
            at = time.monotonic()
            await asyncio.sleep(SLOW_SECONDS)
        answer = await at_work
        status = await asyncio.to_thread(served.process.wait, 60)
        seen.ended.append(time.monotonic() - at)
    if answer.status != 201:
        seen.wrong.append(f"the slow request was answered {answer.status}")
    if status != 0:
        seen.wrong.append(f"exit status {status}")
    async with service.running():
        seen.wrong += await traffic.wrong(service.address, postgres, database, unknown_may_be_stored=False)
        if title not in [task["title"] for task in await everything(service.address, "slow")]:
            seen.wrong.append("the slow request was acknowledged and is lost")
    ready = [event for event in prober.ready if event.began >= at]
    seen.unready.append(min(event.ended for event in ready if event.status != 200) - at)
    later = [event for event in traffic.events if event.began >= at]
    seen.requests += len(later)
    seen.refused += sum(event.status == 503 for event in later)
    seen.unanswered += sum(event.status == 0 and event.code != NOT_SENT for event in later)
    seen.accepted_late += [event for event in (*later, *ready) if 0 < event.status < 500 and event.began > at + notice]
    seen.invalid += [event for event in later if event.status and event.is_failure and event.code != "shutting_down"]
    slow.close()
