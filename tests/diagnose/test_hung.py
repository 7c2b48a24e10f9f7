"""The cause of hung tasks: what each waits for, since when, and who holds that."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ksmactors.cli import main
from ksmactors.watch import progress

Capsys = pytest.CaptureFixture[str]

SOURCE = """
from ksmactors.interleave.locks import Mutex, WaitQueue
from ksmactors.litmus import Litmus

class Hangs(Litmus):
    "one holds a mutex and waits for ever, two want it or wait for it, and one goes on"

    async def run(self, scene):
        proc = await scene.process("A", 1)
        conductor = scene.kernel.conductor
        mutex, never = Mutex(conductor, "a mutex"), WaitQueue(conductor, "a wake-up")

        async def hold():
            await mutex.lock()
            await never.wait()

        async def want():
            await conductor.sleep(50)
            await mutex.lock()

        async def go_on():
            while True:
                await scene.kernel.madvise(proc.mm, proc.start, 4096, 12)

        await scene.concurrent({"holder": hold(), "wanter": want(), "busy": go_on()})
"""


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The workload, with few steps."""
    monkeypatch.setattr(progress, "STEPS_MIN", 5_000)
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(SOURCE)
    return ["mine.py:Hangs", "--max-steps", "12000", "--strategy", "random", "--out", "found"]


def test_the_cause_of_hung_tasks(words: list[str], capsys: Capsys) -> None:
    """A sentence for each; the finding file has it, and its message is as it was."""
    assert main(["run", *words, "--json", "--quiet"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["signature"].startswith("progress/hung_task@")
    assert finding["message"] == (
        "since half of all steps, while others go on: host waits for the parts to end; holder waits for a wake-up; "
        "wanter waits for a mutex"
    )
    sentences = finding["cause"].split("; ")
    assert re.fullmatch(
        r"holder has waited since step \d+ in hold for a wake-up, and nothing has woken it", sentences[1]
    )
    match = re.fullmatch(
        r"wanter has waited since step (\d+) in want for a mutex, held by holder since step (\d+) in hold", sentences[2]
    )
    assert match is not None
    assert 0 < int(match[2]) < int(match[1]) < 12_000


def test_a_store_keeps_the_cause_of_hung_tasks(words: list[str], capsys: Capsys) -> None:
    """A campaign that is resumed shows it from the store."""
    stress = ["stress", *words, "--seeds", "2", "--jobs", "1", "--json"]
    assert main(stress) == 1
    first = json.loads(capsys.readouterr().out)["findings"][0]["cause"]
    assert "held by holder since step" in first
    assert main([*stress, "--resume"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["cause"] == first
