"""The corpus at work: a case's directed schedule, and in how many schedules a strategy finds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ksmactors.history.case import Case
from ksmactors.history.checkpoints import CHECKPOINTS
from ksmactors.interleave.strategies.directed import END, Directed, ScriptStep, parse_script
from ksmactors.interleave.tape import ScriptedTape
from ksmactors.run.calibration import Calibration
from ksmactors.run.options import DEFAULTS
from ksmactors.run.outcome import Outcome
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, make_subject
from ksmactors.watch import WATCHERS

FRUITLESS_MAX: Final = 3
"""Campaigns without success after which a strategy is not asked again."""

FAR_APART: Final = 1_000_000
"""Seeds between the first schedules of two campaigns: more than any campaign runs."""


def subject_of(case: Case, *, fixed: bool = False, watch: str = "all") -> Subject:
    """What a case runs; `fixed`: on the same kernel without the defect, or with its repair, or on series if the kernel
    is the defect and there is none."""
    where: dict[str, Any] = {"kernel": case.kernel, "without": case.without, "with_": case.with_}
    if fixed:
        same = case.with_ or case.without or case.repair
        where = {"kernel": case.kernel if same else DEFAULTS.kernel, "with_": case.repair}
    return make_subject(case.workload, params=case.params, inject=case.inject, watch=watch, **where)


def watch_of(case: Case) -> str:
    """The watchers that find a case's defect, as `--watch` takes them."""
    signatures = (case.signature, *case.also)
    return ",".join(sorted({signature.partition("/")[0] for signature in signatures} & WATCHERS.keys())) or "none"


@dataclass(frozen=True, slots=True)
class Shown:
    """What came of a directed schedule; `left` has the places of the script that were not reached."""

    outcome: Outcome
    left: list[ScriptStep]

    def found(self, case: Case) -> bool:
        """Whether it found what it should; for a negative control, nothing."""
        return signature_of(self.outcome) == case.signature


def signature_of(outcome: Outcome) -> str:
    """The signature of what a schedule found; empty if nothing."""
    return outcome.defect.signature if outcome.defect is not None else ""


async def show(case: Case, *, fixed: bool = False) -> Shown:
    """Run the directed schedule of a case. To be awaited in trio, outside of any other schedule."""
    directed = Directed(parse_script(case.script, CHECKPOINTS))
    outcome = await run_schedule(
        subject_of(case, fixed=fixed), 0, directed.name, deciding=directed, tape=ScriptedTape(case.draws), keep=True
    )
    return Shown(outcome, [step for step in directed.left if step.to != END])


@dataclass(frozen=True, slots=True)
class StrategyResult:
    """How a strategy fares with a case.

    Attributes:
        budget: the most schedules of one campaign.
        found: for each campaign that was run, the number of the first schedule that found the defect, from 1; None:
            none did.
    """

    strategy: str
    budget: int
    found: tuple[int | None, ...]

    @property
    def median(self) -> int | None:
        """Of the campaigns; None: more than the budget."""
        return self._ranked[(len(self.found) - 1) // 2]

    @property
    def worst(self) -> int | None:
        """Of the campaigns; None: more than the budget."""
        return self._ranked[-1]

    @property
    def _ranked(self) -> list[int | None]:
        return sorted(self.found, key=lambda count: (count is None, count))


async def search(
    case: Case, strategy: str, *, campaigns: int, budget: int, first_campaign: int = 0
) -> StrategyResult:  # fmt: skip
    """Let a strategy look for a case's defect, in campaigns of different seeds. To be awaited in trio.

    Another finding on the way does not count, and ends nothing. Only the watchers of the case watch: watchers do not
    change a schedule, and the others would take time. If none of the first FRUITLESS_MAX campaigns finds the defect,
    the remaining ones are not run.
    """
    subject, calibration = subject_of(case, watch=watch_of(case)), Calibration(run_schedule)
    found: list[int | None] = []
    for campaign in range(first_campaign, first_campaign + campaigns):
        if len(found) == FRUITLESS_MAX and not any(found):
            break
        seeds = range(campaign * FAR_APART, campaign * FAR_APART + budget)
        found.append(None)
        for count, seed in enumerate(seeds, 1):
            deciding = await calibration.strategy(subject, seed, strategy)
            outcome = await run_schedule(subject, seed, strategy, deciding=deciding)
            if case.explains(signature_of(outcome)):
                found[-1] = count
                break
    return StrategyResult(strategy, budget, tuple(found))


@dataclass(slots=True)
class Row:
    """A case in the table: whether its directed schedule shows it, and how strategies fare."""

    case: Case
    directed: bool
    searches: list[StrategyResult]

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        case = self.case
        return {
            "case": case.name,
            "title": case.title,
            "workload": case.workload,
            "kernel": case.kernel,
            "without": list(case.without),
            "with": list(case.with_),
            "repair": list(case.repair),
            "params": dict(case.params),
            "inject": case.inject,
            "story": case.story,
            "script": list(case.script),
            "watcher": case.watcher or None,
            "signature": case.signature or None,
            "silent_because": case.silent_because or None,
            "confirmed": list(case.confirmed),
            "directed": self.directed,
            "strategies": {
                one.strategy: {"median": one.median, "worst": one.worst, "budget": one.budget, "found": list(one.found)}
                for one in self.searches
            },
        }


async def measure(
    cases: Sequence[Case], strategies: Sequence[str], *, campaigns: int, budget: int, on_row: Callable[[Row], None]
) -> None:
    """Make the table, a row at a time. Controls have a directed schedule only: there is nothing to look for."""
    for case in cases:
        shown = await show(case)
        row = Row(case, shown.found(case) and (bool(case.watcher) or not shown.left), [])
        if case.watcher and campaigns:
            row.searches = [await search(case, one, campaigns=campaigns, budget=budget) for one in strategies]
        on_row(row)
