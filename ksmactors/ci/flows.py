"""The interleavings of findings, for code flows: each finding is replayed, and looked at turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ksmactors.ci.checks import Check
from ksmactors.diagnose.explain import explain
from ksmactors.diagnose.interleaving import Interleaving, interleaving
from ksmactors.errors import KsmActorsError
from ksmactors.interleave.schedule_string import decode
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.run.ceilings import ceiling
from ksmactors.run.outcome import Verdict
from ksmactors.run.run_schedule import run_schedule

FLOWS_MAX: Final = 25
"""Findings of a command that are looked at. Others have the steps that their explanation names."""

STEPS_MAX: Final = 200_000
"""Steps of a schedule that is looked at. It is run about six times."""


async def interleavings(checks: Sequence[Check], into: dict[str, Interleaving]) -> None:
    """Look at the findings of checks, and put what is seen into `into`, by the checks' names. To be awaited in trio,
    outside of any schedule. What is there when an interruption ends it can be used."""
    for check in [one for one in checks if one.found is not None][:FLOWS_MAX]:
        try:
            seen = await _interleaving_of(check)
        except KsmActorsError:  # the finding itself is reported; how it comes about then stays what is known already
            seen = None
        if seen is not None:
            into[check.name] = seen


async def _interleaving_of(check: Check) -> Interleaving | None:
    """Return the interleaving of a finding. None if it does not show again, or there is no schedule to replay.

    The subject is that of the check: what a schedule string names is not loaded here.
    """
    assert check.found is not None
    outcome, subject = check.found.outcome, check.subject
    if subject is None or outcome.verdict is not Verdict.FINDING or not outcome.schedule or outcome.steps > STEPS_MAX:
        return None
    schedule = decode(outcome.schedule)
    schedule.ceiling = max(ceiling(subject.nodes), 2 * outcome.steps)  # it may come from a store of another person
    again = await run_schedule(subject, outcome.seed, outcome.strategy, deciding=Replay(schedule))
    if again.defect is None or again.defect.signature != check.found.defect.signature:
        return None
    return await interleaving(subject, outcome.seed, schedule, await explain(again, subject))
