"""How much CPU time it takes until every headline case of the corpus has been found by the default strategy."""

from __future__ import annotations

from statistics import median
from time import process_time
from typing import Any, Final

import trio

from ksmactors.campaign.corpus import search
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES as CORPUS

STRATEGY: Final = "portfolio"

BUDGET: Final = 5_000
"""The most schedules of a campaign; one that finds nothing counts with the time of all of them."""


def headline_cases() -> list[Case]:
    """The headline cases that have something to find."""
    return [case for case in CORPUS.values() if case.headline and not case.silent_because]


async def seconds_of(case: Case, campaigns: int) -> float:
    """The median CPU time of campaigns with different seeds until a case is found."""
    taken = []
    for campaign in range(campaigns):
        start = process_time()
        await search(case, STRATEGY, campaigns=1, budget=BUDGET, first_campaign=campaign)
        taken.append(process_time() - start)
    return median(taken)


async def seconds_until_found(campaigns: int) -> float:
    """The sum over all headline cases."""
    return sum([await seconds_of(case, campaigns) for case in headline_cases()])


async def _each() -> dict[str, float]:
    return {case.name: round(await seconds_of(case, 5), 3) for case in headline_cases()}


def headlines_case() -> dict[str, Any]:
    """Seconds for each headline case."""
    return {"cpu_seconds": trio.run(_each)}


CASES = {"headlines": headlines_case}
