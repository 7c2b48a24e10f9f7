"""Random programs against a plain model of memory: a dict. Each process reads what it last wrote.

Sequentially the whole kernel is deterministic; concurrently each player has processes of its own, so that its model
needs no order between players.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmactors.errors import Finding
from ksmactors.interleave.strategies.registry import parse
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.frame import Frame
from tests.helpers.directed import Puppet, Stage, perform
from tests.helpers.player import Player, Step, programs, same_in_ci


def sequentially(steps: list[Step], across: int, **machine: Any) -> None:
    """One player alone; all that is left is read in the end, before and after ksmd has had its way."""

    async def play(s: Stage) -> None:
        await s.set("run", 1)
        await s.set("merge_across_nodes", across)
        player = Player(s, "A")
        await player.play(steps)
        await player.check()
        await s.quiesce()
        await player.check()
        await s.farewell()

    perform(play, **machine)


FEW, SEVERAL, MANY = 10, 20, 150
"""How many programs of one player are run by default, and every night; of several players at once, a tenth of SEVERAL
and of MANY."""


def by_default_and_every_night(by_default: int) -> pytest.MarkDecorator:
    """Run a test with so many examples by default, and with MANY every night."""
    default = pytest.param(by_default, marks=pytest.mark.slow)
    return pytest.mark.parametrize("examples", [default, pytest.param(MANY, marks=pytest.mark.nightly)])


@by_default_and_every_night(FEW)
def test_sequential(examples: int) -> None:
    """Whatever one process after the other does, with ksmd and migration between, it reads what it last wrote."""

    @settings(same_in_ci, max_examples=examples)
    @given(programs, st.integers(0, 1))
    def reads_what_it_wrote(steps: list[Step], across: int) -> None:
        sequentially(steps, across)

    reads_what_it_wrote()


@pytest.mark.slow
@settings(same_in_ci, max_examples=12)
@given(programs, st.integers(0, 1))
def test_sequential_v39(steps: list[Step], across: int) -> None:
    """v3.9 loses mappings, but never a page."""
    sequentially(steps, across, kernel="v3.9", watchers=("shadow", "lifetime", "references", "writable"))


@by_default_and_every_night(SEVERAL)
def test_concurrent(examples: int) -> None:
    """Several players at once, and ksmd: each one's processes read what they last wrote, in any interleaving."""

    @settings(same_in_ci, max_examples=examples // 10)
    @given(
        st.lists(programs, min_size=2, max_size=3),
        st.sampled_from(["pos", "pct", "random", "round_robin:quantum=3", "portfolio"]),
        st.integers(0, 1 << 32),
        st.integers(0, 1),
    )
    def read_what_they_wrote(programs: list[list[Step]], strategy: str, seed: int, across: int) -> None:
        concurrently(programs, across, strategy=parse(strategy), seed=seed)

    read_what_they_wrote()


def concurrently(programs: list[list[Step]], across: int, **machine: Any) -> None:
    """A player for each program, ksmd, and compaction, all at once."""

    async def play(s: Stage) -> None:
        await s.set("run", 1)
        await s.set("merge_across_nodes", across)
        await s.set("pages_to_scan", 5)
        await s.set("sleep_millisecs", 0)
        ksmd = s.conductor.spawn("ksmd", s.kernel.ksm_scan_thread(), daemon=True)
        players = [Player(s, name) for name in "ABC"[: len(programs)]]
        puppets = [s.start(p.name, p.play(steps)) for p, steps in zip(players, programs, strict=True)]
        mover = s.start("compaction", compaction(s, puppets))
        await s.join(mover, *puppets, every=10_000)
        await s.set("run", 0)
        assert ksmd.held == []
        await s.quiesce()
        for player in players:
            await player.check()
        await s.farewell()

    perform(play, **machine)


async def compaction(s: Stage, players: list[Puppet]) -> None:
    """Moves pages to and fro for as long as somebody plays."""
    while not all(player.ended for player in players):
        for frame in [frame for nid in range(2) for frame in s.kernel.movable_frames(nid)[::3]]:
            await s.kernel.migrate_frame(frame, 1 - frame.nid)
        await s.conductor.sleep(5_000)


class CopiesNothing(Ksm):
    async def migrate_page_copy(self, new: Frame, page: Frame) -> None:
        await self.ksm_migrate_page(new, page)


def test_the_model_can_fail() -> None:
    """A migration that copies nothing is noticed by the model, with no watcher watching."""
    steps: list[Step] = [("map", 0, 4), ("write", 0, 1), ("migrate", 0, 1), ("read", 0, 1)]
    with pytest.raises(AssertionError):
        sequentially(steps, 1, layer=CopiesNothing, watchers=())
    with pytest.raises(Finding):
        sequentially(steps, 1, layer=CopiesNothing)
    sequentially(steps, 1)
