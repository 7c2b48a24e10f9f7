"""Pipes: a command that waits for one says so; what foreign code prints is not in the result, nor can it end it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import orjson
import pytest

from ksmactors.analysis import opening
from ksmactors.cli import main
from tests.helpers.ready import ksmactors_line

SCENARIOS = Path(__file__).parents[1] / "conformance" / "scenarios"

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
CLOSES_LATER = "import sys\n" + WORKLOAD + "        sys.stdout.buffer.close()\n"


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


RUDE = """
import os, sys
from ksmactors.workload import Host, Workload

class Prints(Workload):
    "prints, below Python too"
    async def run(self, host: Host) -> None:
        print("loud")
        print("loud", file=sys.__stdout__)
        os.system("echo loud")
        await host.sleep(5)

class Closes(Workload):
    "closes all that it can reach"
    async def run(self, host: Host) -> None:
        print("loud")
        sys.stdout.close()
        sys.stderr.close()
        await host.sleep(5)

class ClosesFiles(Workload):
    "closes descriptors"
    async def run(self, host: Host) -> None:
        for fd in (1, 2):
            try:
                os.close(fd)
            except OSError:
                pass
        await host.sleep(5)
"""

COMMANDS = (
    ("stress", "WORKLOAD", "--seeds", "9", "--jobs", "1", "--json"),
    ("stress", "WORKLOAD", "--seeds", "9", "--jobs", "2", "--json"),
    ("explore", "WORKLOAD", "--max-schedules", "2", "--json"),
    ("run", "WORKLOAD", "--json"),
    ("run", "WORKLOAD", "--log", "-"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("workload", ["Prints", "Closes", "ClosesFiles"])
def test_standard_output_has_the_result_only_while_schedules_run(
    workload: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    """What actors print goes to standard error where a program reads the result, and what they close stays open."""
    (tmp_path / "rude.py").write_text(RUDE)
    words = [word.replace("WORKLOAD", f"rude.py:{workload}") for word in command]

    done = subprocess.run(ksmactors_line(*words, "--quiet"), cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == (4 if "explore" in command else 0), done.stderr
    text = f"[{done.stdout.replace(chr(10), ',')[:-1]}]" if "-" in command else done.stdout
    assert orjson.loads(text)
    assert ("loud" in done.stderr) == (workload != "ClosesFiles")
    assert "Traceback" not in done.stderr


def test_a_person_sees_what_actors_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where no program reads the result, it is printed among what they print; closing the stream closes nothing."""
    monkeypatch.chdir(tmp_path)
    Path("rude.py").write_text(RUDE)

    assert main(["stress", "rude.py:Closes", "--seeds", "2", "--jobs", "1"]) == 0

    assert capfd.readouterr().out.splitlines()[:2] == ["loud", "loud"]


def test_recordings_are_printed_without_what_variants_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`conform` prints the form that recordings have, whatever a variant prints."""
    monkeypatch.chdir(tmp_path)
    Path("loud.py").write_text(
        "from ksmactors.ksm.kernel import Ksm\n\nclass Loud(Ksm):\n    'prints'\n"
        "    async def stable_tree_search(self, page):\n        print('loud')\n"
        "        return await super().stable_tree_search(page)\n"
    )
    scenario = str(SCENARIOS / "01_merge2.txt")
    assert main(["conform", scenario]) == 0
    quiet = capfd.readouterr().out

    assert main(["conform", scenario, "--with", "loud.py:Loud"]) == 0

    out, err = capfd.readouterr()
    assert len(out.splitlines()) == len(quiet.splitlines())
    assert "loud\n" in err


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise LookupError('gone')", "a variant raised LookupError: gone (bad.py:"),
        ("return 3", "with the variant Bad, "),
    ],
)
def test_a_variant_that_ends_a_scenario_is_named(
    body: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`conform` reports what a variant raises, or makes the kernel raise, as the variant's, in one line."""
    monkeypatch.chdir(tmp_path)
    Path("bad.py").write_text(
        "from ksmactors.ksm.kernel import Ksm\n\nclass Bad(Ksm):\n    'bad'\n"
        f"    async def stable_tree_search(self, page):\n        {body}\n"
    )
    scenario = str(SCENARIOS / "01_merge2.txt")

    assert main(["conform", scenario, "--with", "bad.py:Bad"]) == 3

    err = capfd.readouterr().err
    assert err.startswith(f"ksmactors: {said}")
    assert f", in scenario {scenario}, after '> " in err
    assert err.count("\n") == 1


def test_a_closed_buffer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A workload that closes the file below standard output is no defect of ksmactors, and no traceback."""
    monkeypatch.chdir(tmp_path)
    Path("plugged.py").write_text(CLOSES_LATER)
    monkeypatch.setattr(sys, "stdout", open(os.dup(1), "w"))  # noqa: PTH123, SIM115  # the workload closes it

    assert main(["run", "plugged.py:Short"]) == 3

    assert capfd.readouterr().err.splitlines()[-1] == (
        "ksmactors: standard output was closed by code of a plug-in; that code must leave sys.stdout.buffer open"
    )


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_json_is_the_same_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    """A character that standard output cannot encode is escaped, in JSON as JSON has it."""
    (tmp_path / "odd.py").write_text(WORKLOAD + "        raise ValueError('\u2192 \U0001f600 \xe9')\n", "utf-8")
    line = [sys.executable, "-m", "ksmactors", "run", "odd.py:Short", "--json"]
    done = subprocess.run(
        line, cwd=tmp_path, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": encoding}
    )

    assert done.returncode == 3
    assert "\u2192 \U0001f600 \xe9" in orjson.loads(done.stdout)["findings"][0]["message"]
    assert b"defect of ksmactors" not in done.stderr


MUCH = """
from ksmactors.workload import Host, Workload

class Much(Workload):
    "prints more than a pipe takes"
    async def run(self, host: Host) -> None:
        for _ in range(9_000):
            print("many words")

class Own(Workload):
    "has a pipe of its own"
    async def run(self, host: Host) -> None:
        raise BrokenPipeError(32, "Broken pipe")
"""


@pytest.mark.parametrize("command", [("run",), ("stress", "--seeds", "3", "--jobs", "1")], ids=" ".join)
def test_actors_that_print_for_nobody(command: tuple[str, ...], tmp_path: Path) -> None:
    """Where actors cannot print, the command ends as if it had printed itself: it is no crash of the workload."""
    (tmp_path / "much.py").write_text(MUCH)
    name, *more = command
    line = ksmactors_line(name, "much.py:Much", *more, "--quiet", "--out", "found")
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(line, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "ksmactors: standard output cannot be written: No space left on device"


def test_a_pipe_of_the_workload_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A broken pipe that is not standard output is a crash of the workload."""
    monkeypatch.chdir(tmp_path)
    Path("much.py").write_text(MUCH)
    assert main(["run", "much.py:Own", "--quiet", "--out", "found"]) == 3
    assert "workload Own raised BrokenPipeError: [Errno 32] Broken pipe (much.py:" in capfd.readouterr().err
