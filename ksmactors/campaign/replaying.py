"""Replays: a recorded schedule, run again, and whether the same came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ksmactors.campaign.findings import read
from ksmactors.campaign.outcome import Outcome, Verdict
from ksmactors.campaign.subject import Subject, subject_from_header
from ksmactors.errors import ScheduleFormatError
from ksmactors.interleave.schedule import Schedule, decode


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded schedule: what was run, how, and what came of it then.

    `signature` is that of the finding it led to, empty if there is none on record; `digest` in hexadecimal.
    """

    subject: Subject
    seed: int
    strategy: str
    schedule: Schedule
    digest: str
    signature: str

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
        return f"the same {'finding' if self.signature else 'schedule'}, event by event"

    def agrees(self, outcome: Outcome) -> bool:
        """Whether the replay came to the same, event by event."""
        return outcome.verdict is not Verdict.DIVERGED and outcome.digest.hex() == self.digest


def recorded(source: str) -> Recorded:
    """Read what is to be replayed: a finding file, a file with a schedule string, `-`, or such a string.

    Raises:
        UsageError: it cannot be read, or names what does not exist here.
        ScheduleFormatError: it is neither, or was damaged.
    """
    content = read(source)
    schedule = decode(content["schedule"])
    header = schedule.header
    return Recorded(
        subject_from_header(header), _taken(header, "seed", int), _taken(header, "strategy", str), schedule,
        _taken(header, "digest", str), str(content.get("signature", "")),
    )  # fmt: skip


def _taken(header: Mapping[str, Any], key: str, kind: type) -> Any:
    if not isinstance(header.get(key), kind):
        raise ScheduleFormatError(f"the schedule does not say what it was recorded with (no {key})")
    return header[key]
