"""A forgotten `await` ends the schedule, whatever hides Python's own warning."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import trio

from ksmactors.cli import main
from ksmactors.run.calibration import Calibration
from ksmactors.run.outcome import Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject

SOURCE = """from ksmactors.workload import Workload

class Forgets(Workload):
    async def run(self, host):
        process = host.process("A")
        region = await process.map(1)
        process.mergeable(region)

class Warns(Workload):
    async def run(self, host):
        import warnings
        warnings.warn("mind this")

class Fails(Forgets):
    async def run(self, host):
        await super().run(host)
        raise LookupError("gone")
"""


@pytest.fixture
def forgets(tmp_path: Path) -> str:
    """The file of workloads, one of which does not await an operation."""
    (tmp_path / "q.py").write_text(SOURCE)
    return str(tmp_path / "q.py")


@pytest.mark.parametrize("words", ["--jobs 1", "--jobs 2", "--jobs 1 --strategy random"])
def test_it_is_a_crash_of_the_workload(forgets: str, capsys: pytest.CaptureFixture[str], words: str) -> None:
    """One line names place and operation, whatever the strategy, also where other processes run the schedules."""
    out = str(Path(forgets).parent)
    status = main(["stress", f"{forgets}:Forgets", "--seeds", "4", "--quiet", "--out", out, *words.split()])
    assert status == 3
    assert capsys.readouterr().err.count("q.py:7: 'Process.mergeable' was never awaited\n") == 1


def test_what_ends_the_schedule_otherwise_is_reported(forgets: str) -> None:
    """An exception stays what it is; the operation is warned of beside it."""
    with pytest.warns(RuntimeWarning, match="'Process.mergeable' was never awaited"):
        outcome = trio.run(run_schedule, make_subject(f"{forgets}:Fails"), 0, "random")
    assert outcome.defect is not None
    assert "LookupError: gone" in outcome.defect.message
    assert outcome.verdict is Verdict.CRASHED


def test_a_warning_is_not_used_up_by_a_calibration(forgets: str) -> None:
    """What Python shows once a place is shown of the first schedule whose output is."""
    subject = make_subject(f"{forgets}:Warns")
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        trio.run(Calibration(run_schedule).profile, subject)
        assert not shown
        trio.run(run_schedule, subject, 0, "random")
    assert [str(one.message) for one in shown] == ["mind this"]


def test_pythons_hook_is_put_back(forgets: str) -> None:
    """After a schedule Python warns as before."""
    trio.run(run_schedule, make_subject(f"{forgets}:Forgets"), 0, "random")

    async def operation() -> None:
        pass

    with pytest.warns(RuntimeWarning, match="operation' was never awaited"):
        operation()  # type: ignore[unused-coroutine]  # that is the point
