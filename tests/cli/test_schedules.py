"""`run`, `stress` and `replay` as a script sees them: streams, JSON, files and exit statuses."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from ksmactors.cli import main
from ksmactors.plugins import available
from ksmactors.watch import WATCHERS
from ksmactors.watch.base import Watcher
from ksmactors.workload import Workload
from tests.helpers.ready import ksmactors_line

PROGRAMS = Path(__file__).parents[1] / "campaign" / "programs.py"

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def asked(capsys: Capsys, *args: str, status: int = 0) -> dict[str, Any]:
    """Run a command with --json: its exit status is `status`, and standard output is one object."""
    assert main([*args, "--json"]) == status
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def test_run_shows_the_log_and_a_summary(capsys: Capsys) -> None:
    """`run` prints events on standard output and one line about them on standard error."""
    assert main(["run", "litmus.scan_meets_migration", "--seed", "1"]) == 0
    captured = capsys.readouterr()
    assert "run.start" in captured.out.splitlines()[0]
    assert "run.end" in captured.out.splitlines()[-1]
    assert captured.err.startswith("litmus.scan_meets_migration, seed 1: sampled in ")


def test_run_logs_json_lines(capsys: Capsys, tmp_path: Path) -> None:
    """`--log FILE` and `--log -` give the same JSON lines, each with the keys that are always there."""
    log, line = tmp_path / "log", ["run", "fork_storm", "-p", "depth=1", "--quiet", "--log"]
    assert main([*line, str(log)]) == 0
    assert capsys.readouterr().out == ""
    assert main([*line, "-"]) == 0
    assert capsys.readouterr().out == log.read_text()
    lines = log.read_text().splitlines()
    assert len(lines) > 100
    for line in lines:
        assert {"event", "run", "seed", "schedule", "step", "now", "actor", "cpu", "node"} <= json.loads(line).keys()


def test_run_json_has_what_the_contract_says(capsys: Capsys) -> None:
    """The object of `run --json` has all keys of the contract, and the schedule string."""
    content = asked(capsys, "run", "exit_race", "--seed", "2")
    assert {
        "workloads", "kernel", "without", "verdict", "schedules", "steps", "choices", "distinct", "seconds",
        "first_finding_at", "findings", "races", "digest",
    } <= content.keys()  # fmt: skip
    assert (content["workloads"], content["schedules"], content["distinct"]) == (["exit_race"], 1, 1)
    assert content["schedule"].startswith("ksm2:")


@pytest.mark.parametrize("how", ["string", "file", "stdin"])
def test_replay_takes_a_schedule_string(
    how: str, capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule string as argument, in a file or on standard input replays with the digest it was recorded with."""
    first = asked(capsys, "run", "litmus.scan_meets_migration", "--seed", "2")
    source = first["schedule"]
    if how != "string":
        (tmp_path / "schedule").write_text(source + "\n")
        source = str(tmp_path / "schedule")
    if how == "stdin":
        monkeypatch.setattr("sys.stdin", StringIO(Path(source).read_text()))
        source = "-"
    assert asked(capsys, "replay", source)["digest"] == first["digest"]


def test_a_damaged_schedule_string_is_refused(capsys: Capsys) -> None:
    """A schedule string that lost its end is a usage error that says so."""
    schedule = asked(capsys, "run", "litmus.scan_meets_exit")["schedule"]
    assert main(["replay", schedule[:-9]]) == 2
    assert "damaged" in capsys.readouterr().err


def test_stress_finds_and_replay_finds_again(capsys: Capsys, tmp_path: Path) -> None:
    """A finding of `stress` is a file at once, and its replay command comes to the same digest with status 1."""
    content = asked(capsys, "stress", f"{PROGRAMS}:Deadlock", "--seeds", "3", "--out", str(tmp_path), status=1)
    (finding,) = content["findings"]
    assert (content["verdict"], content["first_finding_at"], finding["count"]) == ("finding", 1, 3)
    assert {
        "kind",
        "watcher",
        "signature",
        "message",
        "seed",
        "schedule",
        "step",
        "actors",
        "functions",
    } <= finding.keys()
    recorded = json.loads(Path(finding["file"]).read_text())
    assert asked(capsys, "replay", "--trust", finding["file"], status=1)["digest"] == recorded["digest"]


def test_stress_ends_with_a_table(capsys: Capsys) -> None:
    """Without --json the sums are a table on standard output; what is about to run is said on standard error."""
    names = ["litmus.scan_meets_migration", "litmus.search_meets_migration"]
    assert main(["stress", *names, "--seeds", "4:8", "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    assert "race.migration_busy" in captured.out
    assert "verdict: sampled" in captured.out
    assert captured.err.startswith(f"stress {' '.join(names)}: seeds 4:8, strategy portfolio, kernel series")


def test_stress_without_names_takes_the_built_in_workloads(capsys: Capsys) -> None:
    """The default of `stress` is every workload of the emulated machine that comes with ksmactors."""
    content = asked(capsys, "stress", "--seeds", "1")
    ours = [plugin for plugin in available("workloads")[0] if plugin.origin.startswith("ksmactors ")]
    assert content["workloads"] == [plugin.name for plugin in ours if issubclass(plugin.value, Workload)]
    assert content["workloads"] == [
        "exit_race",
        "fork_storm",
        "hot_remove",
        "knob_flip",
        "mremap_dance",
        "numa_pingpong",
        "oom_kill",
        "pinned_pages",
        "scenario",
        "services",
        "split_vmas",
        "swap_pressure",
        "vm_fleet",
    ]


def test_a_crashed_workload(capsys: Capsys, tmp_path: Path) -> None:
    """Code that raises: status 3, its traceback, and a file from which the replay crashes again."""
    assert main(["stress", f"{PROGRAMS}:Crash", "--seeds", "40", "--out", str(tmp_path)]) == 3
    err = capsys.readouterr().err
    assert 'raise KeyError("boom")' in err
    (file,) = tmp_path.glob("*.json")
    assert f"replay: ksmactors replay --trust {file}" in err
    assert main(["replay", "--trust", str(file)]) == 3
    assert "the same finding, event by event" in capsys.readouterr().err


def test_a_defect_of_the_emulator_asks_for_a_report(capsys: Capsys) -> None:
    """An EmulatorBug in a schedule: status 3, a traceback, and the command to report it with."""
    assert main(["run", f"{PROGRAMS}:Broken"]) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "please report it, with: ksmactors replay " in err


def test_an_await_outside_of_the_emulator_is_one_line(capsys: Capsys) -> None:
    """A workload that awaits trio is told so with its place, without a traceback: status 3."""
    assert main(["run", f"{PROGRAMS}:Foreign", "--quiet"]) == 3
    err = capsys.readouterr().err
    assert "does not go through the conductor" in err
    assert "programs.py:" in err
    assert "Traceback" not in err


def test_out_of_steps(capsys: Capsys) -> None:
    """A schedule that does not end: status 4, and the message says what to do."""
    assert main(["run", f"{PROGRAMS}:Endless", "--max-steps", "500", "--strategy", "random"]) == 4
    assert "no end after 500 steps" in capsys.readouterr().err


CHANGES = {
    "await mutex.lock()\n        await mutex.lock()": (
        "await mutex.lock()",
        "did not find deadlock/deadlock@run again",
    ),
    'mutex = Mutex(host.machine.conductor, "twice")': (
        'mutex = host.process("new").spawn(lambda _: _.exit()) and Mutex(host.machine.conductor, "twice")',
        "diverges at choice",
    ),
}
"""What changes in the program between finding and replay, and what the replay says."""


@pytest.mark.parametrize("before", CHANGES)
def test_a_replay_of_a_changed_program(before: str, capsys: Capsys, tmp_path: Path) -> None:
    """A finding whose program has changed is not found again, or the replay diverges: status 1, and which it is."""
    after, said = CHANGES[before]
    program = tmp_path / "program.py"
    program.write_text(PROGRAMS.read_text())
    asked(capsys, "stress", f"{program}:Deadlock", "--seeds", "1", "--out", str(tmp_path), status=1)
    (file,) = tmp_path.glob("*.json")
    program.write_text(PROGRAMS.read_text().replace(before, after, 1))
    replay = _other_process("replay", "--trust", str(file))
    assert said in replay.stderr
    assert replay.returncode == 1


def _other_process(*args: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(ksmactors_line(*args), capture_output=True, text=True, timeout=100, check=False, **more)


BUSY = ("fork_storm", "pinned_pages", "swap_pressure", "-p", "pages=2")
"""Workloads with many actors and kinds of events."""


def test_the_digest_depends_on_nothing_but_the_input(capsys: Capsys) -> None:
    """Another process with another PYTHONHASHSEED, directory and log comes to the same digest."""
    line = ["stress", *BUSY, "--seeds", "3", "--jobs", "1"]
    here = asked(capsys, *line)
    environment = os.environ | {"PYTHONHASHSEED": "4321", "PYTHONPATH": str(PROGRAMS.parents[2])}
    there = _other_process(*line, "--json", "--log", os.devnull, env=environment, cwd="/")
    assert json.loads(there.stdout)["digest"] == here["digest"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_summarises_and_says_how_to_go_on(tmp_path: Path, sent: signal.Signals) -> None:
    """Ctrl-C, or SIGTERM, in a campaign: the table, a hint how to go on, status 130."""
    command = ksmactors_line("stress", f"{PROGRAMS}:Quiet", "--seeds", "1000000", "--out", str(tmp_path))
    with subprocess.Popen([*command, "--log", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # it has begun
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"distinct interleavings" in err
    assert re.search(rb"interrupted; go on with --(seeds \d+:1000000|resume --out )", err)  # with gaps, --resume
    assert b"Traceback" not in err


ENDLESS = """
from ksmactors.workload import Host, Workload

class Endless(Workload):
    "Never comes to its end."

    async def run(self, host: Host) -> None:
        print("it has begun", flush=True)
        while True:
            await host.sleep(1)
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_in_a_line() -> None:
    """Standard output that takes nothing is no defect of ours."""
    command = ksmactors_line("run", "litmus.scan_meets_exit", "--json", "--quiet")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "ksmactors: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    "words", ["run none.py:None", "stress vm_fleet --out none", "report none --html page", "new workload mine"]
)
def test_a_working_directory_that_was_removed(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    """Where a path begins in a directory that is gone, one line says so."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(words.split()) == 2
    assert capsys.readouterr().err == "ksmactors: the working directory was removed; change to one that exists\n"


@pytest.mark.parametrize("words", ["stress litmus.scan_meets_exit --jobs 1 --seeds 1", "explore classic.lost"])
def test_a_directory_of_two_lines(words: str, tmp_path: Path, capsys: Capsys) -> None:
    """A line feed in --out does not break the line that says where findings go."""
    main([*words.split(), "--out", str(tmp_path / "a\nb")])
    said = next(line for line in capsys.readouterr().err.splitlines() if "findings go to" in line)
    assert str(tmp_path / r"a\nb") in said


def test_too_few_files(monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """A limit of the system is no defect of ours: one line says how to raise it."""
    monkeypatch.setattr("socket.socketpair", _refuse)
    assert main(["run", "litmus.scan_meets_exit", "--quiet"]) == 2
    assert capsys.readouterr().err == (
        "ksmactors: Too many open files: raise the limit (ulimit -n) or give fewer --jobs\n"
    )


def _refuse(*_: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_ctrl_c_says_what_has_become_of_a_run(tmp_path: Path) -> None:
    """SIGINT in the middle of `run`: one line, the JSON object that nothing is counted in, status 130."""
    (tmp_path / "endless.py").write_text(ENDLESS)
    what = [f"{tmp_path / 'endless.py'}:Endless", "--max-steps", "1000000000", "--strategy", "random", "--json"]
    command = ksmactors_line("run", *what, "--out", str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"it has begun\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["schedules"] == 0
    assert err.count(b"\n") == 1
    assert b"seed 0: interrupted after " in err


def test_color_is_for_terminals_unless_asked_for(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a pipe nothing is coloured, with --color always it is, and that wins over NO_COLOR."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["run", "litmus.scan_meets_exit"]) == 0
    assert "\x1b[" not in capsys.readouterr().out
    assert main(["run", "litmus.scan_meets_exit", "--color", "always"]) == 0
    assert "\x1b[" in capsys.readouterr().out


def test_quiet_says_nothing_when_nothing_is_found(capsys: Capsys) -> None:
    """`run --quiet` of a schedule in which nothing is found prints nothing at all."""
    assert main(["run", "litmus.scan_meets_exit", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_watcher_that_fails_is_no_defect_of_ours(monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """A watcher that raises is named, with its traceback and the replay command, status 3; ksmactors is not blamed."""

    class Raising(Watcher):
        name = "raising"
        summary = "raises"

        def at_quiescence(self) -> None:
            raise KeyError("oops")

    monkeypatch.setitem(WATCHERS, "raising", Raising)
    line = ["stress", "litmus.get_page_meets_migration", "--seeds", "1", "--jobs", "1", "-q"]
    assert main([*line, "--watch", "raising"]) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "the watcher raising failed: KeyError: 'oops'" in err
    assert "replay: ksmactors replay " in err
    assert "this is a defect of ksmactors" not in err


def test_a_litmus_test_without_its_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    """A litmus test that needs a node which the machine does not have is a usage error, in one line."""
    assert main(["stress", "litmus.search_meets_migration", "--nodes", "1", "--seeds", "1", "--quiet"]) == 2
    assert "litmus.search_meets_migration needs 2 NUMA nodes, not 1 (--nodes)" in capsys.readouterr().err
