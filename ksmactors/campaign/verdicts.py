"""Verdicts: what many schedules say about a workload, and what they do not.

Each is a type: `word` is what scripts go by, `details` what the JSON object has beside it, and `str` the whole of it
for a person. None of them is a bare "passed".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from typing_extensions import override

from ksmactors.errors import FOUND, INCONCLUSIVE
from ksmactors.quantity import quantity


@dataclass(frozen=True, slots=True)
class Exhausted:
    """All that can happen has been seen, and nothing was found."""

    word: ClassVar[str] = "exhausted"
    exit_status: ClassVar[int] = 0

    def details(self) -> dict[str, Any]:
        return {}

    @override
    def __str__(self) -> str:
        return "exhausted: every order of dependent operations has been seen"


@dataclass(frozen=True, slots=True)
class Bounded:
    """Nothing was found within bounds: all schedules with at most `bound` preemptions (None: that was not bounded),
    but for what `limits` says."""

    word: ClassVar[str] = "bounded"
    exit_status: ClassVar[int] = 0
    bound: int | None
    limits: tuple[str, ...] = ()

    def details(self) -> dict[str, Any]:
        return {"bound": self.bound, "limits": list(self.limits)}

    @override
    def __str__(self) -> str:
        parts = [] if self.bound is None else [f"every schedule with at most {self.bound} preemptions has been seen"]
        return f"bounded: {'; '.join([*parts, *self.limits])}"


@dataclass(frozen=True, slots=True)
class Sampled:
    """Nothing was found in so many schedules, so many of them distinct. `unseen` is an estimate of the probability
    that one more would be new (Good and Turing: the share of schedules that were seen once)."""

    word: ClassVar[str] = "sampled"
    exit_status: ClassVar[int] = 0
    schedules: int
    distinct: int
    unseen: float

    def details(self) -> dict[str, Any]:
        return {"unseen": round(self.unseen, 4)}

    @override
    def __str__(self) -> str:
        return (
            f"sampled: {quantity(self.schedules, 'schedule')}, {self.distinct:,} distinct; "
            f"one more would be a new one with a probability of about {self.unseen:.1%}"
        )


@dataclass(frozen=True, slots=True)
class Convicted:
    """Something was found."""

    word: ClassVar[str] = "finding"
    exit_status: ClassVar[int] = FOUND
    findings: int

    def details(self) -> dict[str, Any]:
        return {}

    @override
    def __str__(self) -> str:
        return f"finding: {self.findings} {'defect' if self.findings == 1 else 'different defects'}"


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """Neither: `why` says what stopped the campaign. `left`: a search has at least so many schedules to run yet."""

    word: ClassVar[str] = "inconclusive"
    exit_status: ClassVar[int] = INCONCLUSIVE
    why: str = ""
    left: int | None = None

    def details(self) -> dict[str, Any]:
        return {} if self.left is None else {"branches_left": self.left, "why": self.why}

    @override
    def __str__(self) -> str:
        left = "" if self.left is None else f"; at least {self.left:,} more are to be run, of an unknown number"
        return f"inconclusive: {self.why}{left}" if self.why else "inconclusive"


Judgement: TypeAlias = Exhausted | Bounded | Sampled | Convicted | Inconclusive
