"""A watcher that raises something else than a finding is to blame for it itself."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import ClassVar

import pytest

from ksmactors import watch
from ksmactors.errors import StepLimit, WatcherFailed
from ksmactors.events import catalogue as ev
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.run.outcome import Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject


class Clumsy(watch.Watcher):
    """Fails in one of the moments at which it is asked something."""

    name: ClassVar[str] = "clumsy"
    summary: ClassVar[str] = "fails"
    at: ClassVar[str] = ""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        machine.trace.listen(ev.MADVISE, self._advised)
        self.kernel.pte_listeners.append(self._pte_changed)
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)

    def _fail(self, at: str) -> None:
        if at == self.at:
            raise KeyError(at)

    def _advised(self, *fields: object) -> None:
        self._fail("event")

    def _pte_changed(self, mm: AddressSpace, address: int, before: Pte | None, pte: Pte | None) -> None:
        self._fail("entry")

    def _at_unlock(self) -> None:
        self._fail("unlock")

    def at_quiescence(self) -> None:
        self._fail("quiescence")

    def at_exit(self) -> None:
        self._fail("exit")

    def at_step_limit(self, limit: StepLimit) -> None:
        self._fail("limit")


@pytest.fixture(autouse=True)
def _clumsy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(watch.WATCHERS, "clumsy", Clumsy)


@pytest.mark.parametrize("at", ["event", "entry", "unlock", "quiescence", "exit", "limit"])
async def test_is_named(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever a watcher fails, the schedule is broken (status 3), no finding: the message names the watcher and what
    it raised, the traceback is there, and so is the schedule string."""
    monkeypatch.setattr(Clumsy, "at", at)
    subject = make_subject("fork_storm", watch="clumsy", max_steps=100 if at == "limit" else None)
    outcome = await run_schedule(subject, 0, "random")
    assert outcome.verdict is Verdict.BROKEN
    assert outcome.verdict.exit_status == 3
    assert outcome.defect is not None
    assert outcome.defect.watcher == "clumsy"
    assert outcome.defect.message.startswith(f"the watcher clumsy failed: KeyError: '{at}'")
    assert "in _fail" in outcome.defect.traceback
    assert outcome.schedule


async def test_without_it_all_is_well() -> None:
    """The same schedule without the clumsy watcher has its verdict."""
    assert (await run_schedule(make_subject("fork_storm"), 0, "random")).verdict is Verdict.OK


def test_goes_from_process_to_process() -> None:
    """The error survives the way back from a worker."""
    error = pickle.loads(pickle.dumps(WatcherFailed("clumsy", "KeyError: 1")))
    assert (error.watcher, error.raised) == ("clumsy", "KeyError: 1")
    assert error.exit_status == 3


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`stress` ends with status 3 and names the watcher, and what follows from it."""
    from ksmactors.cli import main

    Clumsy.at = "quiescence"
    try:
        line = ["stress", "fork_storm", "--seeds", "1", "--jobs", "1", "--watch", "clumsy"]
        status = main([*line, "--out", str(tmp_path)])
    finally:
        Clumsy.at = ""
    shown = capsys.readouterr()
    assert status == 3
    assert "the watcher clumsy failed: KeyError: 'quiescence' (test_failing_watcher.py:" in shown.out + shown.err
    assert "in _fail); correct it, or leave it out with --watch" in shown.out + shown.err
