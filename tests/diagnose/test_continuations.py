"""Continuations of a recorded schedule: how they are counted, and what they draw."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from ksmactors.diagnose.continuations import Continuations, explore, go_to, interval
from ksmactors.diagnose.moments import AtEvent, AtStep
from ksmactors.diagnose.replaying import Recorded, recorded
from ksmactors.diagnose.stepping import Quit
from ksmactors.interleave.strategies.random_walk import RandomWalk
from ksmactors.run.outcome import Outcome
from tests.helpers.ready import ksmactors_line
from tests.helpers.stepping import SIGNATURE, environment, shrunk_finding


@pytest.fixture(scope="module")
def finding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finding file of S5e, shrunk to one departure."""
    return shrunk_finding(tmp_path_factory.mktemp("s5e"))


def continued(then: Recorded, moment: int, count: int, strategy: str = RandomWalk.name) -> list[Outcome]:
    """What came of continuations from a moment on."""
    outcomes: list[Outcome] = []

    async def run() -> None:
        await explore(then, Continuations(moment, "", then.signature, strategy, count), outcomes.append)

    trio.run(run)
    return outcomes


@pytest.mark.parametrize(
    ("failed", "of", "low", "high"),
    [(0, 50, 0.0, 0.0713), (50, 50, 0.9287, 1.0), (1, 10, 0.0179, 0.4042), (5, 10, 0.2366, 0.7634), (0, 0, 0.0, 1.0)],
)
def test_the_interval_is_wilsons(failed: int, of: int, low: float, high: float) -> None:
    """The bounds are those of the tables, and a share of nothing is unknown."""
    assert interval(failed, of) == (low, high)


def test_continuations_share_what_is_followed_and_nothing_else(finding: Path) -> None:
    """From the start each seed draws another schedule; just before the end they are all the recorded one."""
    then = recorded(str(finding))

    early, late = continued(then, 0, 5), continued(then, 305, 5)

    assert len({one.shape for one in early}) == 5
    assert len({one.shape for one in late}) == 1
    assert {one.defect.signature for one in late if one.defect is not None} == {SIGNATURE}
    assert {one.seed for one in early} == set(range(5))
    assert [one.digest for one in early] == [one.digest for one in continued(then, 0, 5)]


def test_from_the_start_it_is_the_strategy_itself(finding: Path) -> None:
    """With nothing followed, the schedules are those of `stress` with the same seeds and strategy."""
    from ksmactors.run.calibration import Calibration
    from ksmactors.run.run_schedule import run_schedule

    then = recorded(str(finding))

    async def plain(seed: int) -> Outcome:
        deciding = await Calibration(run_schedule).strategy(then.subject, seed, "pos")
        return await run_schedule(then.subject, seed, "pos", deciding=deciding)

    assert [one.shape for one in continued(then, 0, 5, "pos")] == [trio.run(plain, seed).shape for seed in range(5)]


def test_a_point_that_comes_is_not_the_end(finding: Path) -> None:
    """A replay goes as far as it is asked, or to its end."""
    then = recorded(str(finding))

    reached = trio.run(go_to, then, AtEvent("ksm_migrate_page"), lambda _: Quit())
    missed = trio.run(go_to, then, AtStep(9999), lambda _: Quit())

    assert reached.outcome is None
    assert missed.outcome is not None
    assert not missed.reached
    assert then.agrees(missed.outcome)


CRASHES = '''
from ksmactors.model import Model, Table


class Crashes(Model):
    """raises if the third worker is not the last"""

    async def run(self, table: Table) -> None:
        order = []

        async def worker(number: int) -> None:
            await table.step()
            order.append(number)

        await table.concurrent({f"worker/{number}": worker(number) for number in range(3)})
        if order[-1] == 0:
            raise ValueError("not that one")
        table.check(order[-1] != 1, "second", "the second was the last")
'''


def test_a_crash_ends_it(tmp_path: Path) -> None:
    """Code that raises in a continuation ends the campaign with 3, its traceback, and the schedule that led there."""
    (tmp_path / "crashes.py").write_text(CRASHES)

    def ran(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ksmactors_line(*args), capture_output=True, text=True, check=False, cwd=tmp_path, env=environment(tmp_path)
        )

    for seed in range(20):
        if ran("stress", "crashes.py:Crashes", "--seeds", f"{seed}:{seed + 1}", "--out", "out").returncode == 1:
            break
    (path,) = (tmp_path / "out").glob("model-second-*.json")

    done = ran("replay", "--trust", str(path), "--until", "1", "--explore", "50")

    assert done.returncode == 3
    assert "more were to be drawn" in done.stdout
    assert "ValueError: not that one" in done.stderr
    assert "replay: ksmactors replay --trust " in done.stderr


INTERRUPTED = """
import os, signal, sys
from ksmactors.cli import main
from ksmactors.diagnose.continuations import Continuations

add = Continuations.add

def stop(self, outcome):
    add(self, outcome)
    if self.count == 7:
        os.kill(os.getpid(), signal.SIGINT)

Continuations.add = stop
sys.exit(main(sys.argv[1:]))
"""


def test_an_interruption_keeps_what_was_drawn(finding: Path, tmp_path: Path) -> None:
    """SIGINT in the middle of the continuations ends with 130, and says how many there were and what they found."""
    args = ["replay", str(finding), "--until", "258", "--explore", "5000", "--quiet"]
    command = [sys.executable, "-c", INTERRUPTED, *args]

    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(tmp_path))

    assert done.returncode == 128 + signal.SIGINT
    assert "7 of 7 fail" in done.stdout
    assert "4993 more were to be drawn" in done.stdout
    assert "interrupted; this is what was drawn so far" in done.stderr
