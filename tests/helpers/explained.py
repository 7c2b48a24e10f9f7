"""The findings of the corpus, explained once for all tests that look at them."""

from __future__ import annotations

from functools import cache

import trio

from ksmactors.campaign.corpus import show, subject_of
from ksmactors.diagnose.explain import explain
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES
from ksmactors.run.outcome import Defect, Outcome


def explained(case: Case) -> Defect | None:
    """The defect that the directed schedule of a case finds, explained."""

    async def run() -> Outcome:
        return await explain((await show(case)).outcome, subject_of(case))

    return trio.run(run).defect


@cache
def explained_by_name(name: str) -> Defect | None:
    """The same of a case of the corpus, run once."""
    return explained(CASES[name])
