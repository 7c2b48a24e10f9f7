"""Wrappers: they look at what another strategy does and change nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path

import pytest
import trio

from ksmactors.errors import NotDeterministic, UsageError
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.recording import ChoiceRecorder
from ksmactors.interleave.strategies.registry import parse
from ksmactors.model import Model, Table
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from tests.helpers.strategies import outcome, preemptions, turns, turns_without_yields

Perform = Callable[..., Conductor]


@pytest.mark.parametrize("inner", ["pos", "pct:depth=2,steps=9", "burst", "surw", "round_robin:quantum=3"])
@pytest.mark.parametrize("wrapper", ["metrics", "recording", "determinism", "metrics:of=recording"])
def test_wrappers_change_no_choice(perform: Perform, wrapper: str, inner: str) -> None:
    """Wrapped or not, and twice wrapped, a strategy makes the same schedule of a seed."""
    assert turns(perform, f"{wrapper}:of={inner}", 2) == turns(perform, inner, 2)


class TestMetrics:
    def test_numbers(self, perform: Perform) -> None:
        """The numbers are those of the tape."""
        for inner in ("pos", "pct:depth=3,steps=12", "burst"):
            metrics = parse(f"metrics:of={inner}")
            recorded = turns_without_yields(perform, metrics, 5)
            numbers = metrics.concluded()
            order = [chosen for _, chosen in recorded]

            assert numbers["preemptions"] == len(preemptions(recorded))
            assert numbers["switches"] == 1 + sum(one != other for one, other in pairwise(order))
            assert numbers["ready_actors"] == sum(mask.bit_count() for mask, _ in recorded)

    def test_patience(self, perform: Perform) -> None:
        """Under the default order the last actor waits for all the others; under round robin it waits a round."""
        waited = {}
        for inner in ("default", "round_robin"):
            metrics = parse(f"metrics:of={inner}")
            turns_without_yields(perform, metrics, 0, steps=20)
            waited[inner] = metrics.concluded()["patience"]

        assert waited["default"] > 40
        assert waited["round_robin"] <= 3

    def test_a_campaign_adds_them_up(self) -> None:
        """An outcome has the numbers of its schedule; without the wrapper it has none."""
        assert outcome("lost", "metrics:of=pos", 0).metrics["switches"] > 0
        assert outcome("lost", "pos", 0).metrics == {}


class TestRecording:
    def test_lines(self, perform: Perform) -> None:
        """Each choice is told with who was chosen, what he is about to do, and the others."""
        recording = parse("recording:of=round_robin:quantum=2")
        assert isinstance(recording, ChoiceRecorder)
        turns_without_yields(perform, recording, 0, actors="ab", steps=3)

        assert recording.lines[-2] == "step 4: a reads a, not b reads b"
        assert recording.lines[-1].endswith("has continued for 1 choice")

    def test_file(self, tmp_path: Path) -> None:
        """What is written down is added to a file, one schedule after the other."""
        file = tmp_path / "choices.txt"
        outcome("lost", f"recording:to={file},of=pos", 0)
        first = file.read_text()
        outcome("lost", f"recording:to={file},of=pos", 1)

        assert "worker/2 writes v, not worker/1 reads v" in first
        assert file.read_text().startswith(first)
        assert len(file.read_text()) > len(first)

    def test_a_file_that_cannot_be_written(self, tmp_path: Path) -> None:
        """A wrong file is a usage error."""
        with pytest.raises(UsageError, match="cannot be written"):
            outcome("lost", f"recording:to={tmp_path / 'no' / 'file'},of=pos", 0)


class Drifting(Model):
    """Does another number of steps each time it is run."""

    async def run(self, table: Table) -> None:
        extra = next(self.calls) % 2 if self.drifts else 0

        async def walk(steps: int) -> None:
            for _ in range(steps):
                await table.step()

        await table.concurrent({"a": walk(3), "b": walk(2 + extra)})

    drifts = True

    def prepare(self) -> None:
        self.calls = count(self.first)

    first = 0


class Shrinking(Drifting):
    """Does more steps first, and then fewer."""

    first = 1


class Steady(Drifting):
    """Always does the same."""

    drifts = False


class TestDeterminism:
    @pytest.mark.parametrize("model", [Drifting, Shrinking])
    def test_convicts(self, model: type[Model]) -> None:
        """A program whose second run is longer or shorter is told, with the first choice that differs."""
        subject = make_subject(model)

        async def campaign() -> None:
            for seed in range(10):
                await run_schedule(subject, seed, "determinism:of=random")

        with pytest.raises(NotDeterministic, match="the workload is not deterministic") as told:
            trio.run(campaign)

        assert told.value.before != told.value.now

    def test_acquits(self) -> None:
        """A program that does the same twice passes, under every seed."""
        for seed in range(10):
            assert trio.run(run_schedule, make_subject(Steady), seed, "determinism:of=surw").defect is None

    def test_what_learns_cannot_be_checked(self) -> None:
        """A strategy that learns from each schedule would play another one the second time: a usage error."""
        with pytest.raises(UsageError, match="strategy determinism: guided learns from each schedule"):
            parse("determinism:of=guided")
