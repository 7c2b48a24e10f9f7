"""What an adaptive budget gives: interleavings and defects in so many schedules, beside seeds dealt in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio

from ksmactors.campaign.corpus import signature_of, subject_of, watch_of
from ksmactors.campaign.dealing import BUDGETS, deal_of
from ksmactors.campaign.driving import Drive
from ksmactors.campaign.stress import Plan
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES as CORPUS
from ksmactors.run.outcome import Outcome
from ksmactors.run.subject import Subject, make_subject

STRATEGY: Final = "portfolio"

STARTS: Final = (0, 1_000_000)
"""First seeds of the campaigns."""

MODELS: Final = (
    "classic.abba", "classic.lost", "classic.reorder_3", "classic.reorder_10", "classic.starve_20", "classic.twostage",
    "classic.twostage_20", "classic.twostage_50",
)  # fmt: skip

MODEL_SEEDS: Final = 1_600

CASE_SEEDS: Final = 800


def _campaign(subjects: Sequence[Subject], cases: Sequence[Case], budget: str, seeds: range) -> dict[str, Any]:
    """Distinct interleavings and defects after each quarter of a campaign. With `cases`, the defect of each subject is
    that of its case; else whatever is found."""
    plan = Plan(subjects, seeds, STRATEGY, deal=deal_of(budget, len(subjects), STRATEGY, seeds))
    drive = Drive(plan)
    found: set[str] = set()
    shown: set[tuple[int, bytes]] = set()
    quarters: list[tuple[int, int]] = []

    def note(outcome: Outcome) -> None:
        place = next(n for n, one in enumerate(subjects) if one is plan.subject_of(outcome.seed))
        shown.add((place, outcome.shape))
        if outcome.defect is not None and (not cases or cases[place].explains(signature_of(outcome))):
            found.add(cases[place].name if cases else outcome.defect.signature)
        if (outcome.seed + 1 - seeds.start) % (len(seeds) // 4) == 0:
            quarters.append((len(shown), len(found)))

    drive.campaign.on_taken = note
    trio.run(drive.run)
    return {"distinct": [distinct for distinct, _ in quarters], "found": [count for _, count in quarters]}


def _beside(subjects: Sequence[Subject], cases: Sequence[Case], count: int) -> dict[str, Any]:
    return {
        budget: [_campaign(subjects, cases, budget, range(start, start + count)) for start in STARTS]
        for budget in BUDGETS
    }


def budget_models() -> dict[str, Any]:
    """Models, some of which are exhausted soon: after each quarter of 1,600 schedules."""
    return _beside([make_subject(name) for name in MODELS], (), MODEL_SEEDS)


def budget_cases() -> dict[str, Any]:
    """Every sixth case of the corpus as a workload of its own: after each quarter of 800 schedules."""
    cases = [case for case in CORPUS.values() if case.watcher and case.workload.startswith("litmus.")][::6]
    subjects = [subject_of(case, watch=watch_of(case)) for case in cases]
    return {"cases": len(cases), **_beside(subjects, cases, CASE_SEEDS)}


CASES: Final = {"budget_models": budget_models, "budget_cases": budget_cases}
