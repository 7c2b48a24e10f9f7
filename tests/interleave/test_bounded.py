"""Preemption bounding: the fewest preemptions first, no more than were allowed, and each schedule once."""

from __future__ import annotations

from itertools import pairwise
from math import comb

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import WRITE
from ksmactors.interleave.concurrent import run_concurrently
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.search.bounded import BoundedSearch
from tests.helpers.searching import searched


async def order(conductor: Conductor, steps: int, wrong: str = "") -> str:
    """Two actors with some steps each: in which order they took them."""
    seen: list[str] = []

    async def work(name: str) -> None:
        for _ in range(steps):
            await conductor.point(WRITE, "x")
            seen.append(name)
            if wrong and "".join(seen).endswith(wrong):
                raise Finding("test", "order", "work", "".join(seen))

    await run_concurrently(conductor, {"a": work("a"), "b": work("b")})
    return "".join(seen)


def switches(order: str) -> int:
    """How often an actor was interrupted: a change of turn but the last of each is a preemption."""
    return sum(one != other for one, other in pairwise(order)) - 1


def test_without_a_bound_it_is_everything() -> None:
    """Bound after bound, every interleaving is run once that counts, and the search knows when none is left."""
    search = BoundedSearch()
    came = searched(lambda c: order(c, 3), search)
    assert (came.schedules, len(came.ends)) == (comb(6, 3), comb(6, 3))
    assert search.reached is None


@pytest.mark.parametrize("bound", range(4))
def test_a_bound_is_kept(bound: int) -> None:
    """With a bound exactly the schedules with at most so many preemptions are run."""
    search = BoundedSearch(preemptions=bound)
    came = searched(lambda c: order(c, 3), search)
    assert {switches(str(end)) for end in came.ends} == set(range(bound + 1))
    assert len(came.ends) == sum(
        switches(str(end)) <= bound for end in searched(lambda c: order(c, 3), BoundedSearch()).ends
    )
    assert search.reached == bound


def test_the_fewest_preemptions_come_first() -> None:
    """What needs one preemption is found before any schedule with two is run."""
    came = searched(lambda c: order(c, 4, wrong="ab"), BoundedSearch())
    with_none = 2
    with_one = 2 * 3
    assert came.first_finding_at is not None
    assert came.first_finding_at <= with_none + with_one
