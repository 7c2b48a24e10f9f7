"""What came of one schedule."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Final

from typing_extensions import override

from ksmactors.errors import FOUND, INCONCLUSIVE, INTERNAL, KsmActorsError
from ksmactors.run.trust import Source
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


CALLERS: Final = 2
"""Callers of a function that are shown: they tell which path it is, and all of them would fill a screen."""


def chain(functions: Sequence[str], *, outermost: bool = False) -> str:
    """A function and those that called it, innermost first, as far as they are shown; and the outermost if wanted."""
    shown, left = functions[: 1 + CALLERS], functions[1 + CALLERS :] if outermost else ()
    return " < ".join((*shown, *(["..."] if len(left) > 1 else []), *left[-1:]))


@dataclass(frozen=True, slots=True)
class Step:
    """A step that matters to a finding: who did what, in which kernel function, called by which ones (the innermost
    first), holding which sleeping locks."""

    actor: str
    step: int
    function: str
    operation: str
    held: tuple[str, ...]
    callers: tuple[str, ...] = ()

    @property
    def breaks(self) -> str:
        """Its function, and the kind of what it is on: `get_ksm_page kpfn`."""
        return f"{self.function} {self.operation.rpartition(' ')[2].partition('/')[0]}"

    @override
    def __str__(self) -> str:
        return f"{self.deed} (step {self.step}){self.holding}"

    @property
    def deed(self) -> str:
        """Who did what in which function, and in which ones that was called, innermost first."""
        within = f" in {chain((self.function, *self.callers))}" if self.function else ""
        return f"{self.actor} {self.operation}{within}"

    @property
    def holding(self) -> str:
        """The locks held, as the end of a sentence."""
        return f", holding {' and '.join(self.held)}" if self.held else ""


@dataclass(frozen=True, slots=True)
class Break:
    """The step that broke what a finding is about, and how the actor that found it had come to it.

    Attributes:
        held_until: the last step at which it held; None: when it broke is not known.
        by: the step after which it never held again. If `held_until` is None, the last one that touched it before it
            was found; None if none is known.
        after: the functions that its actor had returned from just before, in order: those that touched what broke, and
            the latest.
        entered: those that it entered within the step, innermost first, if what the step is on is not what broke.
        looked: the step at which the actor that found it had touched it last before it was broken by another one.
        came_back: the first step at which it touched it again.
        finder: who found it; empty if that was not in a kernel function.
        found_in: the kernel functions that the finder was in, innermost first.
        found_after: those that it had returned from just before, as `after`.
    """

    held_until: int | None = None
    by: Step | None = None
    after: tuple[str, ...] = ()
    entered: tuple[str, ...] = ()
    looked: Step | None = None
    came_back: Step | None = None
    finder: str = ""
    found_in: tuple[str, ...] = ()
    found_after: tuple[str, ...] = ()

    @override
    def __str__(self) -> str:
        if self.by is None:
            return ""
        before = f"; just before: {', '.join(self.after)}" if self.after else ""
        before += f"; on the way into {', '.join(self.entered)}" if self.entered else ""
        if self.held_until is None:
            return f"touched last by {self.by}{before}"
        held_until = min(self.held_until, self.by.step - 1)  # at the step itself it held at first
        return (
            f"held until step {held_until}; broken for good at {self.by.step}: {self.by.deed}{self.by.holding}"
            f"{self._beside}{before}"
        )

    @property
    def _beside(self) -> str:
        """Where the actor that found it had looked at it before another one broke it, and touched it next."""
        steps = (("had looked", self.looked), ("came back", self.came_back))
        told = [f"{verb} at {step.step} in {chain((step.function, *step.callers))}" for verb, step in steps if step]
        return f"; {self.finder} {', and '.join(told)}" if told and self.finder else ""

    @property
    def found(self) -> str:
        """How the actor that found it came to it, in a line; empty if that is not known."""
        if not self.finder:
            return ""
        before = f"; just before: {', '.join(self.found_after)}" if self.found_after else ""
        return f"found by {self.finder} in {chain(self.found_in, outermost=self.held_until is None)}{before}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The steps that met (none if no two can be told), the objects concerned, the cases of the corpus that look like
    it, and the step that broke it."""

    met: tuple[Step, ...]
    concerns: tuple[str, ...]
    looks_like: tuple[str, ...]
    broke: Break = Break()

    @property
    def cause(self) -> str:
        """In a line: the step that broke it; or the two that met, or the last that touched it, and who found it. Empty:
        nothing is known."""
        broke = self.broke
        if broke.held_until is not None:
            return str(broke)
        met = [f"{word}: {step}" for word, step in zip(("first", "then"), self.met, strict=False)]
        return "; ".join(filter(None, (*met, str(broke), broke.found)))

    @property
    def found(self) -> str:
        """How it was found, in a line, unless `cause` has it."""
        return self.broke.found if self.broke.held_until is not None else ""

    @property
    def fingerprint(self) -> str:
        """What a known defect is recognised by, beside its signature: the kernel function that broke it and the kind of
        what that changed; or these of the two steps that met; or of the last that touched it, and what its actor had
        done by then; or the function in which it was found."""
        broke = self.broke
        if broke.held_until is not None and broke.by is not None:
            return " < ".join((broke.by.breaks, *broke.by.callers[:1]))
        if self.met:
            return " + ".join(sorted(step.breaks for step in self.met))
        if broke.by is not None:
            return ", ".join((broke.by.breaks, *broke.after))
        return broke.found_in[0] if broke.found_in else ""

    def as_json(self) -> dict[str, Any]:
        """As finding files and the JSON object show it."""
        return {**asdict(self), "cause": self.cause}


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
    `lock_edges` which class of locks was taken under which, if a watcher has looked at that. `metrics` is what
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
