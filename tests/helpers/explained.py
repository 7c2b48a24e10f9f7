"""The findings of the corpus, explained once for all tests that look at them."""

from __future__ import annotations

from functools import cache

import trio

from ksmactors.campaign.corpus import show, subject_of
from ksmactors.diagnose.explain import explain
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES
from ksmactors.run.outcome import Explanation, Outcome


def explained(case: Case) -> tuple[Outcome, Explanation | None]:
    """What the directed schedule of a case comes to, and its explanation."""

    async def run() -> Outcome:
        return await explain((await show(case)).outcome, subject_of(case))

    outcome = trio.run(run)
    return outcome, outcome.defect.explanation if outcome.defect is not None else None


@cache
def explained_by_name(name: str) -> tuple[Outcome, Explanation | None]:
    """The same of a case of the corpus, run once."""
    return explained(CASES[name])
