"""What a campaign adds up to: counters, findings by signature, one digest over all schedules in order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any, Final

from ksmactors.campaign.verdicts import Bounded, Convicted, Exhausted, Inconclusive, Judgement, Sampled
from ksmactors.errors import INTERNAL
from ksmactors.escaping import quoted
from ksmactors.events import catalogue
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.quantity import quantity
from ksmactors.run.outcome import Defect, Outcome, Verdict, campaign_hash
from ksmactors.run.subject import Subject
from ksmactors.watch.lock_graph import LockGraph

_CODES: Final = range(len(CATALOGUE))
_SUMS: Final = ("schedules", "steps", "choices", "inconclusive", "first_finding_at", "counts", "schedules_with")
RACES: Final = tuple(event.code for event in CATALOGUE if event.name.startswith("race."))


def counted(value: object) -> int:
    """A count that was read from a file; ValueError if it cannot be one."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{quoted(value)} is no count")
    return value


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

    @property
    def defect(self) -> Defect:
        """The defect of the first schedule."""
        defect = self.outcome.defect
        assert defect is not None
        return defect

    def as_json(self) -> dict[str, Any]:
        """The finding as the JSON object shows it."""
        return {**self.outcome.finding(), "count": self.count, "file": str(self.file) if self.file else None}


@dataclass(slots=True)
class Summary:
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
    marks: dict[tuple[str, str], int] = field(default_factory=dict)
    """How often each mark was passed, by workload and name."""
    metrics: dict[str, int] = field(default_factory=dict)
    """What the strategy has counted, summed."""
    searched: Exhausted | Bounded | Inconclusive | None = None
    """What a search has come to, if it was one that decided who moves, and it has ended."""
    locks: LockGraph = field(default_factory=LockGraph)
    """The order in which locks were taken in any schedule."""
    _shapes: dict[bytes, int] = field(default_factory=dict)
    _once: int = 0
    """Interleavings that one schedule had."""
    _hash: hashlib.blake2b = field(default_factory=campaign_hash)

    def add(self, outcome: Outcome) -> None:
        """Count a schedule; a defect that was not known is kept by `keep`."""
        self.add_sums(
            schedules=1, steps=outcome.steps, choices=outcome.choices,
            inconclusive=outcome.verdict is Verdict.INCONCLUSIVE, shapes=(outcome.shape,), digests=outcome.digest,
        )  # fmt: skip
        for name, count in outcome.marks.items():
            self.marks[outcome.workload, name] = self.marks.get((outcome.workload, name), 0) + count
        for name, count in outcome.metrics.items():
            self.metrics[name] = self.metrics.get(name, 0) + count
        counts = outcome.counts
        for code in compress(_CODES, counts):
            self.counts[code] += counts[code]
            self.schedules_with[code] += 1
        known = self.known(outcome)
        if known is not None:
            known.count += 1

    def add_sums(
        self, *, schedules: int, steps: int, choices: int, inconclusive: int, shapes: Iterable[bytes], digests: bytes
    ) -> None:
        """Count schedules by their sums, shapes and digests, in order."""
        self.schedules += schedules
        self.steps += steps
        self.choices += choices
        self.inconclusive += inconclusive
        for shape in shapes:
            count = self._shapes[shape] = self._shapes.get(shape, 0) + 1
            self._once += (count == 1) - (count == 2)
        self._hash.update(digests)

    def state(self) -> dict[str, Any]:
        """The sums as JSON, findings and the digest aside."""
        return {
            "sums": {name: getattr(self, name) for name in _SUMS},
            "marks": [[*key, count] for key, count in self.marks.items()],
            "shapes": [[shape.hex(), count] for shape, count in self._shapes.items()],
        }

    @classmethod
    def restored(cls, state: dict[str, Any], digests: bytes) -> Summary:
        """The tally that `state` was taken of; `digests` are those of its schedules, in order.

        Raises:
            LookupError, TypeError, ValueError: it is no such state.
        """
        sums = state["sums"]
        for name in ("counts", "schedules_with"):
            if len([counted(one) for one in sums[name]]) != len(CATALOGUE):
                raise ValueError(f"{name} are of other events")
        for name in ("schedules", "steps", "choices", "inconclusive"):
            counted(sums[name])
        if sums["first_finding_at"] is not None:
            counted(sums["first_finding_at"])
        tally = cls(**{name: sums[name] for name in _SUMS})
        tally.marks = {(str(workload), str(mark)): counted(count) for workload, mark, count in state["marks"]}
        tally._shapes = {bytes.fromhex(shape): counted(count) for shape, count in state["shapes"]}
        tally._once = sum(count == 1 for count in tally._shapes.values())
        tally._hash = campaign_hash(digests)
        return tally

    def known(self, outcome: Outcome) -> Found | None:
        """What is kept of the outcome's defect, if it was met before."""
        if outcome.verdict is Verdict.INCONCLUSIVE:
            return self.given_up
        return self.found.get(outcome.defect.signature) if outcome.defect is not None else None

    def keep(self, found: Found, *, at: int | None = None) -> None:
        """Keep the first schedule that reached a defect; `at` is its number, from 1, if it is not the last one."""
        outcome = found.outcome
        if outcome.verdict is Verdict.INCONCLUSIVE:
            self.given_up = found
        elif outcome.verdict in (Verdict.CRASHED, Verdict.BROKEN):
            self.crash = found
        elif outcome.defect is not None:
            self.first_finding_at = self.first_finding_at or at or self.schedules
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
    def races_never_met(self) -> list[str]:
        """The kinds of race that happened in no schedule."""
        return [CATALOGUE[code].name for code in RACES if not self.counts[code]]

    @property
    def unseen(self) -> float:
        """An estimate of the probability that one more schedule would be a new one: the share of those seen once."""
        return self._once / self.schedules if self.schedules else 1.0

    @property
    def judgement(self) -> Judgement:
        """The verdict, with what belongs to it."""
        if self.found:
            return Convicted(len(self.found))
        if self.crash is not None:
            return Inconclusive("a schedule crashed")
        if self.inconclusive:
            return Inconclusive(f"{self.inconclusive:,} of {quantity(self.schedules, 'schedule')} ran out of steps")
        if self.searched is not None:
            return self.searched
        if not self.schedules:
            return Inconclusive("no schedule was run")
        return Sampled(self.schedules, self.distinct, self.unseen)

    @property
    def verdict(self) -> str:
        """The verdict in one word."""
        return self.judgement.word

    @property
    def exit_status(self) -> int:
        """What the verdict asks for; a crash weighs more than anything found."""
        return INTERNAL if self.crash is not None else self.judgement.exit_status

    def never_reached(self, subjects: Iterable[Subject]) -> list[str]:
        """The marks that some schedule should have reached, and none did: those that the code of workloads and watchers
        expects, and each `sometimes` that never held."""
        expected = [(subject.name, mark) for subject in subjects for mark in subject.marks_expected()]
        return [f"{name}: {mark}" for name, mark in self.unreached(expected)]

    def unreached(self, expected: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of some marks, by workload and name, and of each `sometimes`, that no schedule passed."""
        asked = (key for key, count in self.marks.items() if not count)
        return [key for key in dict.fromkeys((*expected, *asked)) if not self.marks.get(key)]

    def as_json(self) -> dict[str, Any]:
        """The part of the JSON object that does not depend on what was asked for."""
        found = [*self.found.values(), *([self.crash] if self.crash else [])]
        return {
            "verdict": self.verdict,
            **self.judgement.details(),
            "schedules": self.schedules,
            "steps": self.steps,
            "choices": self.choices,
            "inconclusive": self.inconclusive,
            "distinct": self.distinct,
            "merges": self.merges,
            "first_finding_at": self.first_finding_at,
            "findings": [one.as_json() for one in found],
            "races": {name: count for name, (count, _) in self.races.items()},
            **({"metrics": self.metrics} if self.metrics else {}),
            "marks": {f"{name}: {mark}": count for (name, mark), count in self.marks.items()},
            "digest": self.digest,
        }
