"""Exploration of litmus tests: proofs with the series, findings without a commit of it, and whether all was seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

import ksmactors
from ksmactors.campaign.explore import Budget, exploring
from ksmactors.campaign.resuming import perform
from ksmactors.campaign.subject import make_subject
from ksmactors.interleave.actor import Actor, Operation
from ksmactors.interleave.labels import label_of
from ksmactors.interleave.search.base import Turn, mask_of
from ksmactors.interleave.search.dpor import Dpor
from ksmactors.litmus import Litmus
from workloads.litmus.hotplug import ScanMeetsHotplug
from workloads.litmus.migration import UnstableMeetsMigration
from workloads.litmus.nodes import ExiledNodeMeetsExit, ExiledNodeMeetsHotplug

pytestmark = pytest.mark.slow


class Noted(Dpor):
    """Keeps the trace of every schedule: who did what, and after what of the others."""

    def __init__(self) -> None:
        super().__init__()
        self.traces: set[object] = set()

    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self.labels: list[str] = []

    def did(self, actor: Actor, op: Operation) -> None:
        super().did(actor, op)
        if len(self._happened.actors) > len(self.labels):
            self.labels.append(f"{op[0]} {label_of(op)}")

    def note(self) -> None:
        """The schedule has ended."""
        happened = self._happened
        self.traces.add(frozenset(zip(happened.actors, self.labels, map(tuple, happened.clocks), strict=True)))

    def advance(self) -> bool:
        if self.fresh:
            self.note()
        return super().advance()


class Walk(Noted):
    """Goes anywhere, with long and with short stays, and remembers nothing but where it came."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._dice = Random(seed)

    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._stay = self._dice.choice([0.5, 0.8, 0.9, 0.95, 0.98])

    def new_turn(self, ready: Sequence[Actor], current: Actor | None) -> Turn:
        enabled = [actor for actor in ready if not self._held_up(actor)] or list(ready)
        stays = current in enabled and self._dice.random() < self._stay
        chosen = current if current is not None and stays else self._dice.choice(enabled)
        return Turn(mask_of(ready), mask_of(enabled), chosen.number, self.signs(ready))

    def advance(self) -> bool:
        self.note()
        self.path.clear()
        return True


@pytest.mark.parametrize("litmus", [UnstableMeetsMigration, ExiledNodeMeetsExit])
def test_no_walk_comes_where_exploration_was_not(litmus: type[Litmus]) -> None:
    """Random walks over a litmus test come to no trace that its exploration has not run: what its actors declare and
    touch is all that they share."""
    subject = make_subject(litmus, watch="none")
    explored, walk = Noted(), Walk(1)
    exploration = exploring(subject, explored, Budget(1000), None)
    perform(exploration, resume=False)
    assert (exploration.tally.verdict, exploration.tally.schedules) == ("exhausted", len(explored.traces))
    perform(exploring(subject, walk, Budget(150), None), resume=False)
    assert len(walk.traces) > 5
    assert walk.traces <= explored.traces


def test_a_proof_within_its_bounds() -> None:
    """With all of the series a litmus test is explored to its end, and nothing is found."""
    tally = ksmactors.explore(ExiledNodeMeetsHotplug)
    assert (tally.verdict, tally.found) == ("exhausted", {})


def test_without_its_commit_it_is_found(tmp_path: Path) -> None:
    """Without the commit that mends it the same kind of test is convicted, and the finding replays event by event,
    although the search has had every step taken that is otherwise cut short."""
    tally = ksmactors.explore(
        ScanMeetsHotplug,
        params={"merge_across_nodes": 0},
        without=["reorganize-check-stable-tree"],
        stop_at_first=True,
        out=tmp_path,
    )
    (found,) = tally.found.values()
    assert found.file is not None
    outcome = ksmactors.replay(found.file)
    assert outcome.defect is not None
    assert outcome.defect.signature == found.outcome.defect.signature  # type: ignore[union-attr]
    assert outcome.digest == found.outcome.digest
