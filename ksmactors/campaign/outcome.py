"""What came of one schedule."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from ksmactors.campaign.trust import Source
from ksmactors.errors import FOUND, INCONCLUSIVE, INTERNAL, KsmActorsError
from ksmactors.watch.lock_graph import Edge


class Verdict(Enum):
    """How a schedule ended, with the exit status that it asks for."""

    OK = "ok"
    FINDING = "finding"
    INCONCLUSIVE = "inconclusive"
    DIVERGED = "diverged"
    CRASHED = "crashed"
    BROKEN = "broken"  # the emulator itself raised: our defect

    @property
    def exit_status(self) -> int:
        return _STATUSES[self]


_STATUSES = {
    Verdict.OK: 0,
    Verdict.FINDING: FOUND,
    Verdict.INCONCLUSIVE: INCONCLUSIVE,
    Verdict.DIVERGED: FOUND,
    Verdict.CRASHED: INTERNAL,
    Verdict.BROKEN: INTERNAL,
}


ENDED = "none"
"""The function of an actor that has come to its end."""


@dataclass(frozen=True, slots=True)
class Step:
    """One of the steps that met: who did what, in which function, holding which sleeping locks."""

    actor: str
    step: int
    function: str
    operation: str
    held: tuple[str, ...]

    def __str__(self) -> str:
        held = f", holding {' and '.join(self.held)}" if self.held else ""
        return f"{self.actor} {self.operation} in {self.function} (step {self.step}){held}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The steps that met (none if no two can be told), the objects concerned, and the cases of the corpus that look
    like it."""

    met: tuple[Step, ...]
    concerns: tuple[str, ...]
    looks_like: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """As finding files and the JSON object show it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Defect:
    """What went wrong in a schedule, as a finding file and the JSON object tell it.

    `actors` are the ones that met, the one that had the turn first; `functions` are the innermost ones they were
    in. `step` is where it showed. `explanation` is there once somebody has asked for it (`explain`). `story` has the
    last events before it, rendered for a person, oldest first.
    """

    kind: str
    watcher: str
    signature: str
    message: str
    step: int
    actors: tuple[str, ...]
    functions: tuple[str, ...]
    story: tuple[str, ...]
    traceback: str = ""
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One schedule that was run.

    `counts` has how often each event happened, by its code. `digest` is a hash over every event, `shape` one over
    the turns alone: two schedules with the same shape are one interleaving. `schedule` is the string that replays
    it, and is empty unless something went wrong or it was asked for. `marks` has how often each mark was passed,
    `lock_edges` which class of locks was taken under which, if a witness has looked at that. `metrics` is what
    the strategy has counted. `sources` are the files that it was run with.
    """

    workload: str
    seed: int
    strategy: str
    verdict: Verdict
    steps: int
    choices: int
    counts: tuple[int, ...]
    digest: bytes
    shape: bytes
    schedule: str = ""
    marks: Mapping[str, int] = field(default_factory=dict)
    lock_edges: tuple[Edge, ...] = ()
    metrics: Mapping[str, int] = field(default_factory=dict)
    defect: Defect | None = None
    sources: tuple[Source, ...] = ()
    error: KsmActorsError | Exception | None = field(default=None, compare=False)

    def finding(self) -> dict[str, Any]:
        """The finding as the JSON object shows it; only when there is a defect."""
        defect = self.defect
        if defect is None:
            return {}
        return {
            "kind": defect.kind,
            "watcher": defect.watcher,
            "signature": defect.signature,
            "message": defect.message,
            "seed": self.seed,
            "schedule": self.schedule,
            "step": defect.step,
            "actors": list(defect.actors),
            "functions": list(defect.functions),
            **(defect.explanation.as_json() if defect.explanation is not None else {}),
        }


def campaign_hash(*digests: bytes) -> hashlib.blake2b:
    """The hash that a campaign's digest is: over the digests of its schedules, in order."""
    return hashlib.blake2b(b"".join(digests), digest_size=16)
