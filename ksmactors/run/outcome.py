"""The outcome of one schedule."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Final

from typing_extensions import override

from ksmactors.errors import FOUND, INCONCLUSIVE, INTERNAL, KsmActorsError
from ksmactors.run.measured import Measured
from ksmactors.run.trust import Source
from ksmactors.watch.lock_graph import Edge


class Verdict(Enum):
    """How a schedule ended, with the exit status it leads to."""

    OK = "ok"
    FINDING = "finding"
    INCONCLUSIVE = "inconclusive"
    DIVERGED = "diverged"
    CRASHED = "crashed"
    BROKEN = "broken"  # the emulator itself raised: a bug of ksmactors

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
"""The function of an actor that has ended."""


CALLERS: Final = 2
"""Callers of a function that are shown: enough to identify the path; all of them would fill a screen."""


def chain(functions: Sequence[str], *, outermost: bool = False) -> str:
    """Return a function and its callers, innermost first, as far as they are shown; and the outermost if wanted."""
    shown, left = functions[: 1 + CALLERS], functions[1 + CALLERS :] if outermost else ()
    return " < ".join((*shown, *(["..."] if len(left) > 1 else []), *left[-1:]))


@dataclass(frozen=True, slots=True)
class Step:
    """A step relevant to a finding: the actor, its operation and kernel function, the callers (innermost first), and
    the sleeping locks held."""

    actor: str
    step: int
    function: str
    operation: str
    held: tuple[str, ...]
    callers: tuple[str, ...] = ()

    @property
    def breaks(self) -> str:
        """Its function, and the kind of its object: `get_ksm_page kpfn`."""
        return f"{self.function} {self.operation.rpartition(' ')[2].partition('/')[0]}"

    @override
    def __str__(self) -> str:
        return f"{self.deed} (step {self.step}){self.holding}"

    @property
    def deed(self) -> str:
        """The actor, its operation, the function and its callers, innermost first."""
        within = f" in {chain((self.function, *self.callers))}" if self.function else ""
        return f"{self.actor} {self.operation}{within}"

    @property
    def holding(self) -> str:
        """The locks held, as the end of a sentence."""
        return f", holding {' and '.join(self.held)}" if self.held else ""


INSTEAD: Final = 3
"""Steps that are named as those that may have broken a promise instead of the one that is taken for it."""


@dataclass(frozen=True, slots=True)
class Break:
    """The step that broke the promise of a finding, and how the actor that detected it got there.

    Attributes:
        held_until: the last step at which the promise held; None if that is not known.
        by: the step after which it never held again. If `held_until` is None, the last one that touched the object
            before the finding; None if none is known.
        after: the functions that its actor had returned from just before, in order: those that touched the object, and
            the latest.
        entered: those that it entered within the step, innermost first, if the step is on another object.
        looked: the step at which the detecting actor had last touched the object before another one broke it.
        came_back: the first step at which it touched it again.
        finder: the actor that detected it; empty if that was not in a kernel function.
        found_in: the kernel functions that the finder was in, innermost first.
        found_after: those that it had returned from just before, as `after`.
        instead: other steps of the same actor any one of which may have broken it instead.
        waits: of tasks that hang, what each waits for, since when, and who holds that.
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
    instead: tuple[Step, ...] = ()
    waits: tuple[str, ...] = ()

    @override
    def __str__(self) -> str:
        if self.by is None:
            return "; ".join(self.waits)
        before = f"; just before: {', '.join(self.after)}" if self.after else ""
        before += f"; on the way into {', '.join(self.entered)}" if self.entered else ""
        if self.held_until is None:
            return f"touched last by {self.by}{before}"
        held_until = min(self.held_until, self.by.step - 1)  # it still held at the start of the step itself
        return (
            f"held until step {held_until}; broken for good at {self.by.step}: {self.by.deed}{self.by.holding}"
            f"{self._or_instead}{self._beside}{before}"
        )

    @property
    def _or_instead(self) -> str:
        """The other steps that may have broken it, the latest."""
        steps = [f"at {step.step} in {chain((step.function, *step.callers))}" for step in self.instead[-INSTEAD:]]
        return f"; or, which is as likely, {' or '.join(steps)}" if steps else ""

    @property
    def _beside(self) -> str:
        """Where the detecting actor had read it before another one broke it, and touched it next."""
        steps = (("had looked", self.looked), ("came back", self.came_back))
        visits = [f"{verb} at {step.step} in {chain((step.function, *step.callers))}" for verb, step in steps if step]
        return f"; {self.finder} {', and '.join(visits)}" if visits and self.finder else ""

    @property
    def found(self) -> str:
        """How the detecting actor got there, in a line; empty if that is not known."""
        if not self.finder:
            return ""
        before = f"; just before: {', '.join(self.found_after)}" if self.found_after else ""
        return f"found by {self.finder} in {chain(self.found_in, outermost=self.held_until is None)}{before}"


EXPLAINED: Final = ("met", "concerns", "looks_like", "symptom_of", "broke")
"""The fields of a defect that `explain` fills in, in the order of finding files."""


@dataclass(frozen=True, slots=True)
class Defect:
    """What went wrong in a schedule: a finding, a crash or too many steps. Plain data that outlives the schedule.

    Attributes:
        kind, watcher, signature, message: of the finding, or what stands for them if an exception ended the schedule.
        step: where it was detected.
        actors: the actors involved, the running one first.
        functions: the innermost function of each of them.
        story: the last events before it, rendered for people, oldest first.
        traceback: of the exception of a workload or of ksmactors; else empty.
        broke: the step that broke the promise. None until the finding is explained, and so for what is no finding.
        met: the two racing steps, once it is explained; none if they are not known.
        concerns: the objects concerned, once it is explained.
        looks_like: the corpus cases with the same cause, once it is explained.
        symptom_of: if it looks like none, the corpus cases with the same symptom.
        place: the innermost line of code outside of ksmactors in the running actor, as `/path/to/file.py:12`; empty if
            there is none, or if it was not asked for.
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
    met: tuple[Step, ...] = ()
    concerns: tuple[str, ...] = ()
    looks_like: tuple[str, ...] = ()
    symptom_of: tuple[str, ...] = ()
    broke: Break | None = None
    place: str = ""

    @property
    def cause(self) -> str:
        """The cause in a line: the step that broke the promise; or the two racing steps; or the last step that touched
        the object. Empty if nothing is known."""
        broke = self.broke
        if broke is None:
            return ""
        if broke.held_until is not None:
            return str(broke)
        met = [f"{word}: {step}" for word, step in zip(("first", "then"), self.met, strict=False)]
        return "; ".join(filter(None, (*met, str(broke), broke.found)))

    @property
    def found(self) -> str:
        """How it was detected, in a line, unless `cause` has it."""
        return self.broke.found if self.broke is not None and self.broke.held_until is not None else ""

    @property
    def cause_is_known(self) -> bool:
        """Whether the step that broke the promise is known, or two steps that raced."""
        return bool(self.met) or (self.broke is not None and self.broke.held_until is not None)

    @property
    def fingerprint(self) -> str:
        """Identifies a known defect, beside its signature.

        It is the kernel function that broke the promise and the kind of the changed object; or those of the two racing
        steps; or of the last step that touched the object, with the functions before it; or the function of the
        finding.
        """
        broke = self.broke or Break()
        if broke.held_until is not None and broke.by is not None:
            return " < ".join((broke.by.breaks, *broke.by.callers[:1]))
        if self.met:
            return " + ".join(sorted(step.breaks for step in self.met))
        if broke.by is not None:
            return ", ".join((broke.by.breaks, *broke.after))
        return broke.found_in[0] if broke.found_in else ""

    def explanation(self) -> dict[str, Any]:
        """Return what `explain` has found out, as in finding files and in JSON output; empty if it is not explained."""
        if self.broke is None:
            return {}
        data = asdict(self)
        if not self.broke.waits:
            del data["broke"]["waits"]  # few findings are about waits
        return {**{name: data[name] for name in EXPLAINED}, "cause": self.cause}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One schedule that was run.

    `counts` has the number of each event, by its code. `digest` is a hash over every event, `shape` one over the turns
    alone: two schedules with the same shape are one interleaving. `schedule` is the string that replays it; it is empty
    unless something went wrong or it was asked for. `marks` counts how often each mark was passed. `lock_edges` has the
    lock order edges, if a watcher recorded them. `metrics` are the strategy's counts. `sources` are the files that it
    was run with. `measured` has its figures, if it was measured.
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
    measured: Measured | None = None

    def finding(self) -> dict[str, Any]:
        """The finding as in JSON output; only when there is a defect."""
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
            **defect.explanation(),
        }


def campaign_hash(*digests: bytes) -> hashlib.blake2b:
    """Return the hash over the digests of a campaign's schedules, in order."""
    return hashlib.blake2b(b"".join(digests), digest_size=16)
