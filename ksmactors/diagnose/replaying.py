"""Replays: a recorded schedule, run again, and whether the same came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ksmactors.campaign.findings import read, wrong_claims
from ksmactors.interleave.schedule_string import Schedule, decode, looks_like_schedule
from ksmactors.interleave.strategies.replay import steps_max
from ksmactors.interleave.strategies.replay_by_name import SLACK, ReplayByName
from ksmactors.interleave.tape import ScriptedTape
from ksmactors.quantity import quantity
from ksmactors.run.ceilings import ceiling
from ksmactors.run.header import checked_header
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, subject_from_header
from ksmactors.run.tests import refuse_test
from ksmactors.run.trust import Surroundings, Tell, settle
from ksmactors.watch import current_signature

Draws = dict[str, list[int]]
"""What was drawn, by label and in order."""

SLACKS: Final = (0, 1, 2, 4, SLACK)
"""How far a departure is looked for from where it was: no farther than must be."""

BY_NAMES_FACTOR: Final = 3
"""Schedules as long as a replay may be that following by names may take in all, whatever slacks it tries; one where the
replay has a ceiling."""

LINES_MAX: Final = 20
LINE_MAX: Final = 300
"""Lines about what made the difference that are read of a finding file, and characters of a line."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded schedule: what was run, how, and what came of it then.

    `signature` is that of the finding it led to, empty if there is none on record; `digest` in hexadecimal.
    `difference` says what made the difference, in lines, if that is on record. `file` is the file that it was
    read from, None for a schedule string and standard input, and `claims` all that was read.
    """

    subject: Subject
    seed: int
    strategy: str
    schedule: Schedule
    digest: str
    signature: str
    difference: tuple[str, ...] = ()
    file: Path | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)

    def compare(self, outcome: Outcome) -> str:
        """In one sentence, whether the replay came to the same."""
        if outcome.verdict is Verdict.DIVERGED:
            return str(outcome.error)
        defect = outcome.defect
        if self.signature and defect is None:
            return f"the replay ran to its end and did not find {self.signature} again"
        if self.signature and defect is not None and defect.signature != self.signature:
            return f"the replay found {defect.signature} instead of {self.signature}"
        if not self.agrees(outcome):
            return (
                "the replay made the same choices, but its events differ from the recorded ones; "
                "was it recorded with another version, or with files that have changed since?"
            )
        if wrong := self.wrong_claims(outcome):
            who = self.file or "standard input"
            return f"the same schedule, event by event, but {who} says otherwise: {', '.join(wrong)}"
        return f"the same {'finding' if self.signature else 'schedule'}, event by event"

    def compare_by_names(self, outcome: Outcome) -> str:
        """In one sentence, what following the departures by name came to (`by_names`), when the replay does not fit."""
        signature, count = _signature(outcome), len(self.schedule.departures)
        if outcome.verdict is not Verdict.FINDING:
            led = f"does not find {self.signature} again" if self.signature else "finds nothing"
        elif signature == self.signature:
            led = f"leads to the same finding, {signature}"
        else:
            led = f"leads to {signature}{f' instead of {self.signature}' if self.signature else ''}"
        departures = quantity(count, "departure")
        return f"the recorded steps do not fit this version; following the {departures} by name {led}"

    def fits(self, outcome: Outcome) -> bool:
        """Whether the recorded steps still lead where they led: what is on record was found, if anything is."""
        return outcome.verdict is not Verdict.DIVERGED and self.signature in ("", _signature(outcome))

    def agrees(self, outcome: Outcome) -> bool:
        """Whether the replay came to the same, event by event."""
        return outcome.verdict is not Verdict.DIVERGED and outcome.digest.hex() == self.digest

    def confirms(self, outcome: Outcome) -> bool:
        """Whether the replay came to the same, and to what the finding file says beside its schedule."""
        return self.agrees(outcome) and not self.wrong_claims(outcome)

    def wrong_claims(self, outcome: Outcome) -> list[str]:
        """What the finding file says otherwise than a replay that came to the same."""
        return wrong_claims(self.claims, outcome)

    def file_of(self, outcome: Outcome) -> Path | None:
        """The finding file of what a replay has found: the one that it was read from, if that has the same finding."""
        return self.file if self.signature and self.signature == _signature(outcome) else None


def recorded(source: str, *, trust: bool = False, tell: Tell = lambda _: None) -> Recorded:
    """Read what is to be replayed: a finding file, a file with a schedule string, `-`, or such a string.

    Args:
        source: as said.
        trust: whether code that it names by path or module may be loaded, a file that it names written, and more
            work done than a file may ask for (see `campaign.ceilings`).
        tell: called with a line for each file that has changed since, and for each read on behalf of the finding.

    Raises:
        UsageError: it cannot be read, names what does not exist here, or names code and is not trusted.
        ScheduleFormatError: it is neither, or was damaged.
    """
    content = read(source)
    schedule = decode(content["schedule"])
    is_file = source != "-" and not looks_like_schedule(source)
    around = Surroundings(content, Path(source).resolve().parent if is_file else None)
    refuse_test(checked_header(schedule.header).workload, source)
    header = settle(checked_header(schedule.header), around, trust=trust, tell=tell)
    if not trust:
        schedule.ceiling = ceiling(header.nodes)
    return Recorded(
        subject_from_header(header),
        header.seed,
        header.strategy,
        schedule,
        header.digest,
        current_signature(content.get("signature", "")),
        _difference(content.get("made_the_difference")),
        Path(source) if is_file else None,
        content,
    )


def recorded_as(subject: Subject, outcome: Outcome) -> Recorded:
    """Return a schedule that has its schedule string as if it had been read from a file."""
    schedule = decode(outcome.schedule)
    return Recorded(subject, outcome.seed, outcome.strategy, schedule, outcome.digest.hex(), _signature(outcome))


def _difference(cause: object) -> tuple[str, ...]:
    """The lines about what made the difference in a finding file; none if they are not what `shrink --cause` writes."""
    lines = cause.get("lines") if isinstance(cause, dict) else None
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        return ()
    return tuple(line[:LINE_MAX] for line in lines[:LINES_MAX])


def by_label(schedule: Schedule) -> Draws:
    """The values drawn in a schedule."""
    values: Draws = {}
    for label, _, value in schedule.draws:
        values.setdefault(label, []).append(value)
    return values


async def by_names(then: Recorded) -> Outcome:
    """Follow the departures of a recording by names, as far as they can be found. To be awaited in trio.

    For a recording whose steps do not fit any more. Returns the first outcome that comes to what is on record, else the
    first that finds anything, else the last.
    """
    best: Outcome | None = None
    longest = steps_max(then.schedule)  # in the default order some workloads wait for ever
    left = BY_NAMES_FACTOR * longest if then.schedule.ceiling is None else longest
    for slack in SLACKS:
        if left <= 0:
            break
        subject = replace(then.subject, max_steps=min(then.subject.max_steps, longest, left))
        following = ReplayByName(then.schedule.departures, slack=slack)
        outcome = await run_schedule(
            subject, then.seed, ReplayByName.name, deciding=following, tape=ScriptedTape(by_label(then.schedule))
        )
        left -= outcome.steps
        if outcome.verdict is Verdict.FINDING and (best is None or _signature(outcome) == then.signature):
            best = outcome
        if best is not None and _signature(best) == then.signature:
            break
    return best or outcome


def _signature(outcome: Outcome) -> str:
    return outcome.defect.signature if outcome.defect is not None else ""
