"""A recorded schedule replayed with every event of detail, as values: what reports, traces and pictures are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksmactors.diagnose.replaying import Recorded, recorded
from ksmactors.events.logs import EventList
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.run.async_run import run_async
from ksmactors.run.outcome import Outcome
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.trust import Tell


@dataclass(frozen=True, slots=True)
class Detailed:
    """A replay: what was recorded, what came of it now, and its events in order, each with the keys of a log line."""

    recorded: Recorded
    outcome: Outcome
    events: Sequence[Mapping[str, Any]]


async def events_in_detail(then: Recorded) -> Detailed:
    """Replay what was recorded with all detail. To be awaited in trio."""
    events = EventList()
    outcome = await run_schedule(
        then.subject, then.seed, then.strategy, deciding=Replay(then.schedule), log=events, detail=True
    )
    return Detailed(then, outcome, events.events)


def replay_in_detail(source: str, *, trust: bool = False, tell: Tell = lambda _: None) -> Detailed:
    """Replay a finding file, a file with a schedule string, or such a string, with all detail.

    Args:
        source, trust, tell: as in `replaying.recorded`.

    Raises:
        UsageError: it cannot be read, names what does not exist here, or names code and is not trusted.
        ScheduleFormatError: it is neither, or was damaged.
        KeyboardInterrupt: the replay was interrupted.
    """
    then = recorded(source, trust=trust, tell=tell)

    async def replay() -> Detailed:
        return await events_in_detail(then)

    detailed: Detailed = run_async(replay)
    return detailed
