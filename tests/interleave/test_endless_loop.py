"""Loops that pass no point are ended by a timer, and name their function."""

from __future__ import annotations

import signal
from functools import partial
from threading import Thread
from time import process_time

import pytest
import trio

from ksmactors.diagnose.explain import explain
from ksmactors.interleave import endless_loop
from ksmactors.interleave.endless_loop import ended_by_timer
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.program import Program
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from ksmactors.watch.base import Watcher
from ksmactors.workload import Host, Workload


class Loops(Ksm):
    """ksmd never ends its first visit"""

    async def remove_rmap_item_from_tree(self, item: RmapItem) -> None:
        while True:
            self.page_hwpoison(self.zero_page)


def burn() -> None:
    """Take ten times as long as there is between two looks."""
    until = process_time() + 0.2
    while process_time() < until:
        pass


class SlowWatcher(Watcher):
    """takes its time"""

    name = "slow"
    summary = "takes its time"

    def __init__(self, machine: object) -> None:
        super().__init__(machine)  # type: ignore[arg-type]
        self.kernel.pte_listeners.append(self._pte_changed)

    def _pte_changed(self, *_: object) -> None:
        burn()


class Thinks(Workload):
    """takes its time between two operations"""

    async def run(self, host: Host) -> None:
        process = host.process("A")
        region = await process.map(1)
        burn()
        await process.write(region, 0, 1)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endless_loop, "SECONDS", 0.02)


def one(workload: str | type[Program], **options: object) -> Outcome:
    """One schedule, with the timer."""
    with ended_by_timer():
        return trio.run(partial(run_schedule, make_subject(workload, **options), 0, "random"))  # type: ignore[arg-type]


def test_a_loop_is_found_and_found_again() -> None:
    """The finding names the kernel's function and the step, and a second run comes to the same."""
    outcomes = [one("fork_storm", with_=f"{__file__}:Loops") for _ in range(2)]
    assert {outcome.digest for outcome in outcomes} == {outcomes[0].digest}
    defect = outcomes[0].defect
    assert defect is not None
    assert defect.signature == "structure/endless_loop@remove_rmap_item_from_tree"
    assert defect.message == "ksmd is in remove_rmap_item_from_tree for ever: it passes no point any more"


def test_its_explanation_begins_with_the_loop() -> None:
    """What the loop calls is not named: that is wherever the timer has gone off."""
    subject = make_subject("fork_storm", with_=f"{__file__}:Loops")
    with ended_by_timer():
        outcome = trio.run(partial(run_schedule, subject, 0, "random"))
        defect = trio.run(partial(explain, outcome, subject)).defect
    assert defect is not None
    assert defect.broke is not None
    assert defect.broke.found_in[0] == "remove_rmap_item_from_tree"


def test_what_only_takes_long_is_no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that the kernel calls, and the code of a workload, may take their time within a step."""
    monkeypatch.setattr(endless_loop, "SECONDS", 0.05)
    assert one(Thinks).verdict is Verdict.OK
    assert one(Thinks, watch=f"{__file__}:SlowWatcher").verdict is Verdict.OK


def test_the_timer_is_only_there_in_the_context() -> None:
    """Another thread, and who uses the timer already, is left alone."""
    states = []

    def look() -> None:
        with ended_by_timer():
            states.append(signal.getsignal(signal.SIGVTALRM))

    thread = Thread(target=look)
    thread.start()
    thread.join()
    with ended_by_timer():
        assert signal.getsignal(signal.SIGVTALRM) is not signal.SIG_DFL
        assert signal.getitimer(signal.ITIMER_VIRTUAL) > (0, 0)
        states.append(signal.SIG_DFL)
        look()
        assert signal.getitimer(signal.ITIMER_VIRTUAL) > (0, 0)
    assert states[:2] == [signal.SIG_DFL, signal.SIG_DFL]
    assert states[2] is not signal.SIG_DFL
    assert (signal.getsignal(signal.SIGVTALRM), signal.getitimer(signal.ITIMER_VIRTUAL)) == (signal.SIG_DFL, (0, 0))
