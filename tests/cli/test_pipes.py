"""Pipes: a command that waits for one says so; what foreign code prints while it is loaded is not in the result."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import orjson
import pytest

from ksmactors.analysis import opening
from ksmactors.cli import main

WORKLOAD = """
from ksmactors.workload import Host, Process, Workload

class Short(Workload):
    "one process"
    async def run(self, host: Host) -> None:
        host.process("A", node=0).spawn(self.live, host)
    async def live(self, process: Process, host: Host) -> None:
        await process.map(1)
"""

LOUD = "import sys\nprint('loud')\nsys.stdout.buffer.write(b'bytes')\n" + WORKLOAD
CLOSES = "import sys\nsys.stdout.close()\n" + WORKLOAD
CLOSES_LATER = "import sys\n" + WORKLOAD + "        sys.stdout.close()\n"


def test_a_pipe_that_is_silent_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`analyze PIPE` says that it waits; what is written later is read."""
    monkeypatch.setattr(opening, "SILENT_SECONDS", 0)
    log, pipe = tmp_path / "log", tmp_path / "pipe"
    assert main(["run", "exit_race", "--log", str(log), "--quiet"]) == 0
    os.mkfifo(pipe)
    said = threading.Event()
    monkeypatch.setattr("ksmactors.cli.pipes.notice", lambda line: (sys.stderr.write(line), said.set()))

    def write() -> None:
        said.wait()
        pipe.write_bytes(log.read_bytes())

    writer = threading.Thread(target=write)
    writer.start()
    status = main(["analyze", str(pipe), "--json", "--quiet"])
    said.set()
    writer.join()

    assert status == 0
    assert f"{pipe}: a pipe; waiting for a program" in capfd.readouterr().err


@pytest.mark.parametrize("source", [LOUD, CLOSES], ids=["prints", "closes"])
@pytest.mark.parametrize("command", [["stress", "--seeds", "2", "--jobs", "1"], ["run"], ["list", "workloads"]])
def test_standard_output_has_the_result_only(
    source: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a plug-in prints while it is loaded goes to standard error, and it cannot close standard output."""
    monkeypatch.chdir(tmp_path)
    Path("plugged.py").write_text(source)

    assert main([*command, "plugged.py:Short", "--json"]) == 0

    out, err = capfd.readouterr()
    assert orjson.loads(out)
    assert ("loud" in err) == (source is LOUD)


def test_a_workload_that_closes_standard_output_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is no defect of ksmactors, and no traceback."""
    monkeypatch.chdir(tmp_path)
    Path("plugged.py").write_text(CLOSES_LATER)
    monkeypatch.setattr(sys, "stdout", open(os.dup(1), "w"))  # noqa: PTH123, SIM115  # the workload closes it

    assert main(["run", "plugged.py:Short", "--json"]) == 3

    err = capfd.readouterr().err
    assert err.splitlines()[-1] == (
        "ksmactors: standard output was closed by code of a plug-in; that code must leave sys.stdout open"
    )
