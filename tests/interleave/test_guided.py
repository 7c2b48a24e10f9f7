"""Coverage-guided mutation: what it learns from, and that a seed stands for a schedule all the same."""

from __future__ import annotations

from random import Random

import pytest
import trio

from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.interleave.strategies.guided import Guided
from ksmactors.run.calibration import Calibration
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from tests.helpers.strategies import outcome


def campaign(seeds: range, strategy: str, *models: str) -> dict[int, bytes]:
    """The shape of each schedule of a campaign, by seed."""
    shapes = {}
    one = Campaign(Plan([make_subject(f"classic.{model}") for model in models], seeds, strategy))
    one.on_schedule = lambda _: shapes.__setitem__(one.last.seed, one.last.shape)  # type: ignore[union-attr]
    trio.run(one.run)
    return shapes


class TestFamilies:
    @pytest.mark.slow
    def test_a_seed_stands_for_a_schedule(self) -> None:
        """A seed that is run alone has the schedule that it has in a campaign, wherever that begins."""
        whole = campaign(range(30), "guided:family=20", "reorder_10")

        assert campaign(range(13, 24), "guided:family=20", "reorder_10") == {
            seed: whole[seed] for seed in range(13, 24)
        }
        assert outcome("reorder_10", "guided:family=20", 17).shape == whole[17]

    @pytest.mark.slow
    def test_with_several_workloads(self) -> None:
        """Of two workloads each learns from its own schedules; a seed alone needs to know how far those are apart."""
        whole = campaign(range(24), "guided", "reorder_10", "twostage_20")

        assert outcome("twostage_20", "guided:every=2", 21).shape == whole[21]
        assert outcome("reorder_10", "guided:every=2", 22).shape == whole[22]

    def test_whom_it_learns_from(self) -> None:
        """A schedule learns from the smaller seeds of its family and workload, and from nothing else."""
        assert list(Guided(family=10).warmup_seeds(23)) == [20, 21, 22]
        assert list(Guided(family=10).warmup_seeds(20)) == []
        assert list(Guided(family=5, every=3).warmup_seeds(24)) == [15, 18, 21]

    @pytest.mark.slow
    def test_learning_changes_schedules(self) -> None:
        """A schedule with something to learn from is another one than without."""
        alone = campaign(range(20), "guided:family=1", "reorder_10")
        taught = campaign(range(20), "guided:family=20", "reorder_10")

        assert alone[0] == taught[0]
        assert sum(alone[seed] != taught[seed] for seed in range(20)) > 8


class TestTapes:
    def rehearsed(self, seeds: int) -> Guided:
        subject, calibration = make_subject("classic.reorder_10"), Calibration(run_schedule)
        guided = trio.run(calibration.strategy, subject, seeds, "guided")
        assert isinstance(guided, Guided)
        return guided

    @pytest.mark.slow
    def test_only_what_is_new_is_kept(self) -> None:
        """The first schedule is kept, and of many later ones fewer and fewer."""
        early, late = len(self.rehearsed(10).kept), len(self.rehearsed(60).kept)

        assert 1 <= early <= 10
        assert early <= late < 50

    def test_a_mutation_replaces_a_few_draws(self) -> None:
        """A new tape is a kept one with some draws replaced, or nothing in every other schedule."""
        guided = Guided(draws=3)
        guided.kept = [list(range(50))]
        tapes = [guided._mutated(Random(seed)) for seed in range(100)]

        assert 35 < tapes.count([]) < 65
        changed = {sum(number != place for place, number in enumerate(tape)) for tape in tapes if tape}
        assert changed <= {1, 2, 3}
        assert 3 in changed
