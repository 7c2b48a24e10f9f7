"""Compare the results of two sides for the same scenario, line by line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from typing import Final, NamedTuple, TypeGuard

from ksmactors.conformance.contents import wrong_checks
from ksmactors.conformance.language import Scenario
from ksmactors.conformance.recording import compared, differences
from ksmactors.conformance.transcript import Transcript
from ksmactors.errors import Finding, StepLimit
from ksmactors.escaping import quoted
from ksmactors.quantity import quantity

VERDICTS: Final = ("same", "different", "stopped", "run", "failed", "not comparable", "not run")
"""The verdicts on a scenario. `stopped`: all lines were equal up to a memory error, at which the emulator stops; the
other side continues. `not comparable`: a real kernel skipped it, or did not do the same twice."""

SKIP: Final = "= skip: "
"""The last line of a scenario that a side cannot perform: it lacks something."""

MEMORY_WATCHERS: Final = frozenset({"lifetime", "naming", "structure"})
"""Watchers that report errors which crash or corrupt a real kernel."""


class Side(NamedTuple):
    """A source of results: `name` is its name in a diff. A `live` kernel has as many nodes as the machine."""

    name: str
    perform: Callable[[Scenario], Awaitable[Transcript]]
    live: bool = False


@dataclass(frozen=True, slots=True)
class ScenarioComparison:
    """The comparison of a scenario. `expected` is None if there was nothing to compare with; `wrong` are checks that
    did not answer what was written; `note` is shown beside the verdict."""

    scenario: Scenario
    expected: Transcript | None
    performed: Transcript
    diff: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    not_run: str = ""
    not_comparable: str = ""
    note: str = ""
    stopped: bool = False
    """Whether all lines up to a memory error were equal; `rest` counts the other side's lines after it."""
    rest: int = 0

    @property
    def failure(self) -> Finding | StepLimit | None:
        """The error that ended the schedule of one of the sides, or None. A memory error where a recorded kernel
        crashed is expected, and gives None."""
        return None if self.crashed else self._ended_with

    @property
    def crashed(self) -> bool:
        """Whether the emulator ended in a memory error after the last line that a kernel has written."""
        return self.stopped and not self.rest

    @property
    def _ended_with(self) -> Finding | StepLimit | None:
        sides = (self.expected, self.performed)
        return next((side.failure for side in sides if side is not None and side.failure is not None), None)

    @property
    def kernel_crash(self) -> Transcript | None:
        """The side whose kernel has crashed, if one has."""
        return next((side for side in (self.expected, self.performed) if side is not None and side.crash), None)

    @property
    def verdict(self) -> str:
        """One of VERDICTS."""
        if self.failure is not None:
            return "stopped" if self.stopped else "failed"
        if self.not_run:
            return "not run"
        if self.not_comparable:
            return "not comparable"
        if self.diff or self.wrong:
            return "different"
        return "run" if self.expected is None else "same"

    @property
    def found(self) -> str:
        """What was found, as a word that is equal for equal kinds; empty if nothing was."""
        if isinstance(self.failure, Finding):
            return self.failure.signature
        if self.verdict == "different":
            return "wrong content" if self.wrong else "difference" if self.kernel_crash is None else "kernel crash"
        return ""


async def compare(
    scenario: Scenario, expected: Side | None, performed: Side, *, checked: bool = False
) -> ScenarioComparison:  # fmt: skip
    """Run a scenario on both sides, the expected one first; if that one fails, the other is not run.

    With `checked` each check must answer what the script has written, on the second side. A live kernel has a second
    try: on a busy machine a page may be pinned for a moment, and then it does not merge.
    """
    comparison = await _compare_once(scenario, expected, performed, checked=checked)
    if comparison.verdict != "different" or expected is None or not (expected.live or performed.live):
        return comparison
    again = await _compare_once(scenario, expected, performed, checked=checked)
    if again.verdict != "same":
        return _repeated(comparison, again)
    odd = next((line for line in comparison.diff if line.startswith(("-=", "+="))), "; ".join(comparison.wrong))
    return replace(again, note=f"was run twice: it differed once, beginning with {quoted(odd)}, and then did not")


def _repeated(comparison: ScenarioComparison, again: ScenarioComparison) -> ScenarioComparison:
    """Return a comparison that differed twice. With holds, it counts only if the real kernel did the same both times:
    where it did not, two tasks of it ran at once, and who was faster decided."""
    first, second = comparison.expected, again.expected
    crashed = comparison.kernel_crash is not None or again.kernel_crash is not None
    if crashed or first is None or second is None or all(one.name != "hold" for one in comparison.scenario.operations):
        return comparison
    changed = differences(first.lines, second.lines, ("once", "again"), live=True)
    odd = next((line for line in changed if line.startswith(("-=", "+="))), "")
    return replace(comparison, not_comparable=f"does not end alike twice on the kernel: {odd}") if odd else comparison


async def _compare_once(
    scenario: Scenario, expected: Side | None, performed: Side, *, checked: bool
) -> ScenarioComparison:  # fmt: skip
    names = (expected.name if expected is not None else "", performed.name)
    live = performed.live or (expected is not None and expected.live)
    first = None if expected is None else await expected.perform(scenario)
    if first is not None and (first.missing or first.failure is not None):
        return ScenarioComparison(scenario, first, Transcript(scenario, ()), not_run=first.missing)
    second = await performed.perform(scenario)
    if is_memory_error(second.failure) and first is not None and not second.missing:
        both = compared(first.lines, second.lines, live=live)
        return _compare_stopped(ScenarioComparison(scenario, first, second), *both, names)
    if second.missing or second.failure is not None:
        return ScenarioComparison(scenario, first, second, not_run=second.missing)
    if live and first is not None and (skipped := _skipped(first, second)):
        return ScenarioComparison(scenario, first, second, not_comparable=skipped)
    diff = [] if first is None else differences(first.lines, second.lines, names, live=live)
    wrong = wrong_checks(scenario, second.lines) if checked else []
    return ScenarioComparison(scenario, first, second, tuple(diff), tuple(wrong))


def _skipped(first: Transcript, second: Transcript) -> str:
    """Return why one of the sides has skipped a scenario; empty if none has, or both for the same reason."""
    reasons = [
        side.lines[-1].removeprefix(SKIP) if side.lines and side.lines[-1].startswith(SKIP) else ""
        for side in (first, second)
    ]
    return "" if reasons[0] == reasons[1] else f"is skipped: {reasons[0] or reasons[1]}"


def is_memory_error(failure: Finding | StepLimit | None) -> TypeGuard[Finding]:
    """Whether a schedule ended in an error that crashes or corrupts a real kernel."""
    return isinstance(failure, Finding) and failure.watcher in MEMORY_WATCHERS


def _compare_stopped(
    comparison: ScenarioComparison, expected: Sequence[str], performed: Sequence[str], names: tuple[str, str]
) -> ScenarioComparison:  # fmt: skip
    """Compare a run that ends in a memory error with one that may continue: the common part must be equal."""
    finding = comparison.performed.failure
    rest = len(expected) - len(performed)
    if rest < 0 or expected[: len(performed)] != performed:
        return replace(comparison, diff=tuple(unified_diff(expected, performed, *names, lineterm="")))
    ends = "where the kernel crashed" if not rest else f"and the kernel goes on ({quantity(rest, 'line')})"
    note = f"the emulator stops at a memory error, {ends}: {finding}"
    return replace(comparison, note=note, stopped=True, rest=rest)
