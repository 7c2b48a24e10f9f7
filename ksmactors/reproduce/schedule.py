"""The scenario of a finding."""

from __future__ import annotations

from ksmactors.conformance.language import parse
from ksmactors.diagnose.replaying import Recorded, by_names
from ksmactors.diagnose.scenario_text import write_scenario
from ksmactors.errors import UsageError
from ksmactors.kernels import kind_of
from ksmactors.reproduce.subject import GUEST, Subject, has_holds
from ksmactors.run.outcome import Verdict


async def of_finding(then: Recorded, origin: str) -> Subject:
    """Replay a finding, and tell its schedule as a scenario. To be awaited in trio, outside of any other schedule.

    Raises:
        UsageError: the finding is not found again, is a race, or has what no scenario has.
    """
    outcome = await by_names(then)
    if outcome.verdict is not Verdict.FINDING:
        raise UsageError(f"{origin}: its replay finds nothing, so there is nothing to reproduce")
    written = await write_scenario(then.subject, then.seed, outcome, then.schedule.departures)
    scenario = parse(written.text, name="finding", origin=origin)
    if has_holds(scenario):
        raise UsageError(
            f"{origin}: its schedule is a race, which a C program cannot force; write it with holds: "
            f"ksmactors shrink {origin} --scenario FILE, and {GUEST}"
        )
    if written.missing:
        raise UsageError(f"{origin}: its schedule is no scenario: {written.missing[0]}")
    return Subject(scenario, taken_out=tuple(name for name in then.subject.without if kind_of(name) == "repair"))
