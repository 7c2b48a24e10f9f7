"""`always` and `sometimes`: what is broken is a finding, what never held is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ksmactors
from ksmactors.campaign.summary import Summary
from ksmactors.cli import main
from ksmactors.litmus import Litmus, Scene
from ksmactors.marks import kind_of
from ksmactors.model import Model, Table
from ksmactors.watcher import Machine, Watcher, events
from ksmactors.workload import Host, Int, Workload

HERE = __name__

pytestmark = pytest.mark.slow

Capsys = pytest.CaptureFixture[str]


class Draws(Workload):
    """Draws a number below `sides` and promises that it is below `limit`."""

    sides = Int(6, "sides of the die", low=1)
    limit = Int(6, "what every number is below")

    async def run(self, host: Host) -> None:
        number = host.draw("die", self.sides)
        host.always(number < self.limit, "Numbers are small!", detail=f"it is {number}")
        host.sometimes(number == 5, "a five")
        host.sometimes(number == 6, "a six")
        if number == 7:
            host.sometimes(True, "behind a seven")


class OnATable(Model):
    """The same with a model."""

    async def run(self, table: Table) -> None:
        number = table.draw("die", 4)
        table.always(number < 3, "below three")
        table.sometimes(number == 2, "a two")
        table.sometimes(number == 9, text="a nine")


class InAScene(Litmus):
    """The same with a litmus test."""

    limit = Int(2, "appends that are promised to be below")

    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.concurrent({"ksmd": scene.scan(), "thread/A": scene.store(a, 0, 8)})
        content = a.mm.ptes[a.at(0)].frame.content
        scene.sometimes(content is scene.kernel.contents.token(8), "it is stored")
        scene.always(self.limit == 2, "the limit is two")


class Merges(Watcher):
    """Promises that nothing is merged."""

    name = "merges"
    summary = "nothing is merged"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        machine.trace.listen(events.STABLE_TREE_APPEND, self._appended)

    def at_exit(self) -> None:
        self.sometimes(True, "a schedule ends")
        self.sometimes(False, "a schedule ends badly")

    def _appended(self, item: int, node: int, kpfn: int, mm: str, address: int) -> None:
        self.always(False, "nothing merges", detail=f"pfn {kpfn}")


class Unmerged(Workload):
    """One page is all there is."""

    async def run(self, host: Host) -> None:
        process = host.process("A")
        region = await process.map(1)
        await process.write(region, 0, 1)


def unreached(tally: Summary, *expected: str) -> list[str]:
    """The marks that a campaign of `Draws` never reached."""
    return [mark for _, mark in tally.unreached((f"{HERE}:Draws", mark) for mark in expected)]


class TestAlways:
    def test_what_does_not_hold_is_a_finding(self) -> None:
        """The promise is its kind, the function its place, the detail is in the message."""
        tally = ksmactors.stress(Draws, seeds=30, params={"limit": "5"})

        (signature,) = tally.found
        assert signature == "workload/numbers_are_small@run"
        assert tally.found[signature].defect.message == "not always: Numbers are small! (it is 5)"
        assert tally.found[signature].count > 1

    def test_what_holds_is_none(self) -> None:
        """A promise that is kept changes nothing."""
        assert ksmactors.stress(Draws, seeds=30).verdict == "sampled"

    def test_a_model_makes_promises(self) -> None:
        """`explore` finds the one schedule in which it is broken."""
        tally = ksmactors.explore(OnATable)
        assert list(tally.found) == ["model/below_three@run"]

    def test_a_litmus_test_makes_promises(self) -> None:
        """One that is kept in every schedule, and one that is broken in the first."""
        assert ksmactors.explore(InAScene, preemptions=1).verdict == "bounded"
        broken = ksmactors.explore(InAScene, preemptions=0, params={"limit": "3"})
        assert list(broken.found) == ["workload/the_limit_is_two@run"]

    def test_a_watcher_makes_promises(self) -> None:
        """It convicts a workload whose pages merge, and acquits one that has a single page."""
        broken = ksmactors.stress("vm_fleet", seeds=1, watch=[f"{HERE}:Merges"])
        kept = ksmactors.stress(Unmerged, seeds=1, watch=[f"{HERE}:Merges"])

        assert list(broken.found) == ["merges/nothing_merges@stable_tree_append"]
        assert kept.verdict == "sampled"
        assert kept.marks[f"{HERE}:Unmerged", "merges/a schedule ends"] == 1

    def test_a_finding_is_replayed(self, tmp_path: Path) -> None:
        """It comes again, with the same signature, from its file."""
        found = ksmactors.stress(Draws, seeds=30, params={"limit": "5"}, out=tmp_path).found
        (file,) = [one.file for one in found.values()]
        assert file is not None

        again = ksmactors.replay(file, trust=True)

        assert again.defect is not None
        assert again.defect.signature == "workload/numbers_are_small@run"


class TestSometimes:
    def test_what_never_held_is_said(self) -> None:
        """Also if the line that asks was never reached; not what held in some schedule."""
        tally = ksmactors.stress(Draws, seeds=30)

        assert tally.marks == {(f"{HERE}:Draws", "a five"): 5, (f"{HERE}:Draws", "a six"): 0}
        assert Draws.marks_expected() == ("a five", "a six", "behind a seven")
        assert unreached(tally, *Draws.marks_expected()) == ["a six", "behind a seven"]

    def test_a_text_that_is_put_together_is_asked_for_when_it_is_evaluated(self) -> None:
        """No source says its words: it counts once the line is reached."""

        class Computed(Workload):
            """Asks for `at N`."""

            async def run(self, host: Host) -> None:
                host.sometimes(False, f"at {self.name}")

        tally = ksmactors.stress(Computed, seeds=1)

        assert Computed.marks_expected() == ()
        assert [mark for _, mark in tally.unreached(())] == ["at Computed"]

    def test_a_watcher_is_no_part_of_the_schedule(self) -> None:
        """The marks of watchers are no events: the digest is that without the watcher."""
        with_watcher = ksmactors.stress(Unmerged, seeds=2, watch=[f"{HERE}:Merges"])
        without = ksmactors.stress(Unmerged, seeds=2, watch="none")

        assert with_watcher.digest == without.digest
        assert with_watcher.unreached(()) == [(f"{HERE}:Unmerged", "merges/a schedule ends badly")]

    def test_all_jobs_and_a_store_say_the_same(self, tmp_path: Path, capsys: Capsys) -> None:
        """One process, two, a campaign that was resumed, and its store agree in marks and in what was never reached."""
        source = Path(__file__).read_text()
        (tmp_path / "mine.py").write_text(source)
        line = ["stress", f"{tmp_path}/mine.py:Draws", "--watch", f"all,{tmp_path}/mine.py:Merges", "--json"]
        answers = []
        for more in (
            ["--jobs", "1", "--seeds", "12", "--out", str(tmp_path / "one")],
            ["--jobs", "2", "--seeds", "12", "--out", str(tmp_path / "two")],
            ["--jobs", "2", "--seeds", "5", "--out", str(tmp_path / "three")],
            ["--jobs", "1", "--seeds", "12", "--out", str(tmp_path / "three"), "--resume"],
        ):
            assert main([*line, *more]) == 0
            answers.append(json.loads(capsys.readouterr().out))
        assert main(["campaign", str(tmp_path / "three"), "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
        del answers[2]

        said = [(one["marks"], one["never_reached"], one["digest"]) for one in answers]
        assert said == [said[0]] * 4
        name = f"{tmp_path}/mine.py:Draws"
        assert said[0][1] == [
            f"{name}: a six", f"{name}: behind a seven", f"{name}: merges/a schedule ends badly",
        ]  # fmt: skip

    def test_a_person_is_told(self, tmp_path: Path, capsys: Capsys) -> None:
        """`stress` and `campaign` print a line for each."""
        (tmp_path / "mine.py").write_text(Path(__file__).read_text())
        assert main(["stress", f"{tmp_path}/mine.py:Draws", "--seeds", "3", "--out", str(tmp_path)]) == 0
        assert "Draws: behind a seven\n" in capsys.readouterr().out
        assert main(["campaign", str(tmp_path)]) == 0
        assert "never reached: " in capsys.readouterr().out


async def _coroutine() -> bool:
    return False


@pytest.mark.parametrize("text", ["", "  ", "!?"])
def test_a_promise_has_words(text: str) -> None:
    """A promise without a word would be a finding without a kind."""
    with pytest.raises(ValueError, match="a promise is a text of some words"):
        kind_of(text)


def test_a_long_promise_is_cut() -> None:
    """Signatures and names of files stay short."""
    assert len(kind_of("word " * 100)) <= 60


def test_a_coroutine_is_no_condition() -> None:
    """A forgotten await is an error of the workload: it would hold always."""

    class Forgets(Workload):
        """Forgets an await."""

        async def run(self, host: Host) -> None:
            coroutine = _coroutine()
            try:
                host.always(coroutine, "it holds")  # type: ignore[arg-type]
            finally:
                coroutine.close()

    tally = ksmactors.stress(Forgets, seeds=1)

    assert tally.crash is not None
    assert "the condition is a coroutine: await it first" in tally.crash.defect.message
