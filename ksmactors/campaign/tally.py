"""What a campaign adds up to: counters, findings by signature, one digest over all schedules in order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ksmactors.campaign.outcome import Outcome, Verdict, campaign_hash
from ksmactors.errors import FOUND, INCONCLUSIVE, INTERNAL
from ksmactors.events import catalogue
from ksmactors.events.catalogue import CATALOGUE

RACES: Final = tuple(event.code for event in CATALOGUE if event.name.startswith("race."))


@dataclass(slots=True)
class Found:
    """A defect that one or more schedules reached: the first of them, and how many there were.

    `file` is its finding file, if one was to be written; `problem` says why that failed. `replay` is the command
    line that shows it again, empty if it is a replay already.
    """

    outcome: Outcome
    file: Path | None = None
    problem: str = ""
    replay: str = ""
    count: int = 1

    def as_json(self) -> dict[str, Any]:
        """The finding as the JSON object shows it."""
        return {**self.outcome.finding(), "count": self.count, "file": str(self.file) if self.file else None}


@dataclass(slots=True)
class Tally:
    """The sums of a campaign so far.

    `found` has the findings by signature, `crash` the schedule in which code raised, `given_up` the first that ran
    out of steps.
    """

    schedules: int = 0
    steps: int = 0
    choices: int = 0
    inconclusive: int = 0
    first_finding_at: int | None = None
    found: dict[str, Found] = field(default_factory=dict)
    crash: Found | None = None
    given_up: Found | None = None
    counts: list[int] = field(default_factory=lambda: [0] * len(CATALOGUE))
    schedules_with: list[int] = field(default_factory=lambda: [0] * len(CATALOGUE))
    _shapes: set[bytes] = field(default_factory=set)
    _hash: hashlib.blake2b = field(default_factory=campaign_hash)

    def add(self, outcome: Outcome) -> None:
        """Count a schedule; a defect that was not known is kept by `keep`."""
        self.schedules += 1
        self.steps += outcome.steps
        self.choices += outcome.choices
        self.inconclusive += outcome.verdict is Verdict.INCONCLUSIVE
        self._shapes.add(outcome.shape)
        self._hash.update(outcome.digest)
        for code, count in enumerate(outcome.counts):
            if count:
                self.counts[code] += count
                self.schedules_with[code] += 1
        known = self.known(outcome)
        if known is not None:
            known.count += 1

    def known(self, outcome: Outcome) -> Found | None:
        """What is kept of the outcome's defect, if it was met before."""
        if outcome.verdict is Verdict.INCONCLUSIVE:
            return self.given_up
        return self.found.get(outcome.defect.signature) if outcome.defect is not None else None

    def keep(self, found: Found) -> None:
        """Keep the first schedule that reached a defect."""
        outcome = found.outcome
        if outcome.verdict is Verdict.INCONCLUSIVE:
            self.given_up = found
        elif outcome.verdict in (Verdict.CRASHED, Verdict.BROKEN):
            self.crash = found
        elif outcome.defect is not None:
            self.first_finding_at = self.first_finding_at or self.schedules
            self.found[outcome.defect.signature] = found

    @property
    def distinct(self) -> int:
        """Different interleavings among the schedules."""
        return len(self._shapes)

    @property
    def merges(self) -> int:
        """Mappings that joined a KSM page."""
        return self.counts[catalogue.STABLE_TREE_APPEND]

    @property
    def digest(self) -> str:
        """A hash over every event of every schedule, in order."""
        return self._hash.hexdigest()

    @property
    def races(self) -> dict[str, tuple[int, int]]:
        """Each kind of race that happened: how often, and in how many schedules."""
        return {CATALOGUE[c].name: (self.counts[c], self.schedules_with[c]) for c in RACES if self.counts[c]}

    @property
    def verdict(self) -> str:
        """finding, inconclusive (a schedule ran out of steps, or none ran) or sampled."""
        if self.found:
            return "finding"
        return "inconclusive" if self.inconclusive or self.crash or not self.schedules else "sampled"

    @property
    def exit_status(self) -> int:
        """What the verdict asks for; a crash weighs more than anything found."""
        if self.crash is not None:
            return INTERNAL
        return {"finding": FOUND, "inconclusive": INCONCLUSIVE, "sampled": 0}[self.verdict]

    def as_json(self) -> dict[str, Any]:
        """The part of the JSON object that does not depend on what was asked for."""
        found = [*self.found.values(), *([self.crash] if self.crash else [])]
        return {
            "verdict": self.verdict,
            "schedules": self.schedules,
            "steps": self.steps,
            "choices": self.choices,
            "inconclusive": self.inconclusive,
            "distinct": self.distinct,
            "merges": self.merges,
            "first_finding_at": self.first_finding_at,
            "findings": [one.as_json() for one in found],
            "races": {name: count for name, (count, _) in self.races.items()},
            "digest": self.digest,
        }
