"""Two sides perform the same scenario, and what they say is compared line by line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeGuard

from ksmactors.conformance.contents import wrong_checks
from ksmactors.conformance.emulator import Transcript
from ksmactors.conformance.language import Scenario
from ksmactors.conformance.recording import compared, differences
from ksmactors.errors import Finding, StepLimit

VERDICTS: Final = ("same", "different", "stopped", "run", "failed", "not run")
"""What can become of a scenario. `stopped`: all lines were the same up to a memory error, at which the emulator stops;
the other side goes on."""

MEMORY_WATCHERS: Final = frozenset({"lifetime", "naming", "structure"})
"""Those who report what crashes or corrupts a real kernel."""


class Side(NamedTuple):
    """Somebody who performs scenarios, or has done so: `name` is what a diff calls it. A real kernel that is `live`
    cannot show KSM's own structures, and has as many nodes as the machine."""

    name: str
    perform: Callable[[Scenario], Awaitable[Transcript]]
    live: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of a scenario. `expected` is None if there was nothing to compare with; `wrong` are checks that
    did not answer what was written; `note` is something to be said beside the verdict."""

    scenario: Scenario
    expected: Transcript | None
    performed: Transcript
    diff: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    not_run: str = ""
    note: str = ""
    stopped: bool = False
    """Whether all lines up to a memory error were the same; `rest` is how many the other side has after that."""
    rest: int = 0

    @property
    def failure(self) -> Finding | StepLimit | None:
        """What the schedule of one of the sides ended with, if it did not end well. None if it ended in a memory error
        where a recorded kernel crashed: then it did what it had to."""
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
    def verdict(self) -> str:
        """One of VERDICTS."""
        if self.failure is not None:
            return "stopped" if self.stopped else "failed"
        if self.not_run:
            return "not run"
        if self.diff or self.wrong:
            return "different"
        return "run" if self.expected is None else "same"

    @property
    def found(self) -> str:
        """What was found, in a word that is the same for the same kind of thing; empty if nothing was."""
        if isinstance(self.failure, Finding):
            return self.failure.signature
        if self.verdict == "different":
            return "wrong content" if self.wrong else "difference"
        return ""


async def compare(
    scenario: Scenario, expected: Side | None, performed: Side, *, checked: bool = False
) -> Comparison:  # fmt: skip
    """Have both sides perform a scenario, the expected one first; if that does not get through, it is left at that.

    With `checked` each check must answer what the script says was written, on the second side. A live kernel has a
    second try: on a machine where other things happen a page may be pinned for a moment, and then it does not merge.
    """
    comparison = await _compare_once(scenario, expected, performed, checked=checked)
    if comparison.verdict != "different" or expected is None or not (expected.live or performed.live):
        return comparison
    again = await _compare_once(scenario, expected, performed, checked=checked)
    if again.verdict != "same":
        return comparison
    odd = next((line for line in comparison.diff if line.startswith(("-=", "+="))), "; ".join(comparison.wrong))
    return replace(again, note=f"was performed twice: it differed once, beginning with {odd!r}, and then did not")


async def _compare_once(
    scenario: Scenario, expected: Side | None, performed: Side, *, checked: bool
) -> Comparison:  # fmt: skip
    names = (expected.name if expected is not None else "", performed.name)
    first = None if expected is None else await expected.perform(scenario)
    if first is not None and (first.missing or first.failure is not None):
        return Comparison(scenario, first, Transcript(scenario, ()), not_run=first.missing)
    second = await performed.perform(scenario)
    if is_memory_error(second.failure) and first is not None and not second.missing:
        return _compare_stopped(Comparison(scenario, first, second), names)
    if second.missing or second.failure is not None:
        return Comparison(scenario, first, second, not_run=second.missing)
    diff: list[str] = []
    if expected is not None and first is not None:
        live = expected.live or performed.live
        diff = differences(first.lines, second.lines, names, live=live)
    wrong = wrong_checks(scenario, second.lines) if checked else []
    return Comparison(scenario, first, second, tuple(diff), tuple(wrong))


def is_memory_error(failure: Finding | StepLimit | None) -> TypeGuard[Finding]:
    """Whether a schedule has ended in what crashes or corrupts a real kernel."""
    return isinstance(failure, Finding) and failure.watcher in MEMORY_WATCHERS


def _compare_stopped(comparison: Comparison, names: tuple[str, str]) -> Comparison:
    """A run that ends in a memory error, beside one that may go on: what both have must be the same."""
    finding = comparison.performed.failure
    assert comparison.expected is not None, "there is nothing to compare with"
    expected, performed = compared(comparison.expected.lines, comparison.performed.lines)
    rest = len(expected) - len(performed)
    if rest < 0 or expected[: len(performed)] != performed:
        diff = differences(comparison.expected.lines, comparison.performed.lines, names)
        return replace(comparison, diff=tuple(diff))
    ends = "where the kernel crashed" if not rest else f"and the kernel goes on ({rest} lines)"
    note = f"the emulator stops at a memory error, {ends}: {finding}"
    return replace(comparison, note=note, stopped=True, rest=rest)
