"""The kernel of this machine as a performer of scenarios, and what it must never do to the machine.

Skipped, with the reason, where there is no KSM or no root, or somebody else uses it.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from ksmactors.cli import main
from ksmactors.conformance.language import parse, read_scenario
from ksmactors.conformance.live import Live
from ksmactors.conformance.live_ksm import SYSFS, in_use
from ksmactors.conformance.live_pages import Pages
from ksmactors.conformance.live_world import World
from ksmactors.conformance.recording import differences, read_recording
from ksmactors.errors import UsageError

HERE = Path(__file__).parent
SCENARIOS = HERE / "scenarios"

INTERRUPTIBLE = """
import signal, sys
from ksmactors.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))
"""
"""The command, heeding Ctrl-C even where the tests are run in the background."""


PATIENCE = [30.0]
"""Seconds that are left to wait until others no longer use KSM: for all tests together, since who does not stop in that
time, such as a virtual machine, does not stop for the next test."""


def knobs() -> dict[str, str]:
    """What can be set, and what to."""
    return {path.name: path.read_text() for path in SYSFS.iterdir() if path.stat().st_mode & 0o200}


@pytest.fixture
def live() -> Live:
    """This machine; skipped where it cannot perform scenarios."""
    try:
        live = Live()
    except UsageError as refusal:
        pytest.skip(str(refusal))
    while True:
        try:
            with live.ksm.taken():
                return live
        except UsageError as refusal:
            if PATIENCE[0] <= 0:
                pytest.skip(str(refusal))
        PATIENCE[0] -= 0.5
        sleep(0.5)


@pytest.fixture
def taken(live: Live) -> Iterator[Live]:
    """This machine's KSM for ourselves; at the end every knob is what it was."""
    before = knobs()
    try:
        context = live.taken()
        context.__enter__()
    except UsageError as refusal:
        pytest.skip(str(refusal))
    try:
        yield live
    finally:
        context.__exit__(None, None, None)
    assert knobs() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["01_merge2", "06_cow_break_remerge", "12_exit_midscan", "16_fork_chain", "17_munmap_midway", "19_run2_unmerge",
     "21_knobs_invalid", "22_max_page_sharing_2", "28_zero_pages_on", "29_smart_scan", "90_fuzz1_00"],
)  # fmt: skip
def test_this_machine_does_what_its_kernel_did_when_it_was_recorded(taken: Live, name: str) -> None:
    """The driver is right: the recordings were made by another one."""
    version = re.match(r"\d+\.\d+", taken.release)
    path = HERE / "results" / f"v{version and version[0]}" / f"{name}.out"
    if not path.exists():
        pytest.skip(f"no recording of a kernel like {taken.release}")
    performance = taken.perform(read_scenario(SCENARIOS / f"{name}.txt"))
    if "undisturbed" in performance.missing:
        pytest.skip(performance.missing)
    assert performance.missing == ""
    assert differences(read_recording(path).lines, performance.lines, ("recorded", "live"), live=True) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario", sorted((HERE / "one_node" / "scenarios").glob("*.txt")), ids=lambda path: path.stem
)
def test_a_machine_like_this_was_recorded(taken: Live, scenario: Path) -> None:
    """exec, pins, MADV_FREE and mlock, as they were recorded on a machine without swap."""
    if not (6, 18) <= taken.version < (6, 19):
        pytest.skip(f"recorded on 6.18, and this is {taken.release}")
    performance = taken.perform(read_scenario(scenario))
    if performance.missing:
        pytest.skip(performance.missing)
    recorded = read_recording(HERE / "one_node" / "results" / "v6.18" / f"{scenario.stem}.out")
    assert differences(recorded.lines, performance.lines, ("recorded", "live"), live=True) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [700, 1100, 1500])
def test_the_interpreter_is_spared_whatever_it_needs(taken: Live, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its heap ends depends on its environment; it grew after it had been spared, and was scanned."""
    monkeypatch.setenv("KSMACTORS_TEST_PADDING", "x" * size)
    performance = taken.perform(parse("proc A\nmap A r 2\nfillrange A r 0 2 7\nprctl A on\nset run 1\nscan 3\n"))
    if performance.missing:
        pytest.skip(performance.missing)
    assert performance.lines[-1].startswith("= scan full_scans=+3 scanned=6")


@pytest.mark.slow
def test_what_the_machine_lacks_is_said_and_nothing_is_run(taken: Live) -> None:
    """Too many nodes, an unknown knob, and what would disturb others."""
    for text, reason in [
        ("requires nodes 65\nproc A\n", "needs 65 NUMA nodes (operation 'requires', line 1), and this machine has"),
        ("proc A\nmap A r 1 node 70\n", "needs 71 NUMA nodes (operation 'map', line 2)"),
        ("requires knob nonsense\n", "needs the knob nonsense"),
        ("proc A\nreclaim 4K\n", "takes a memory cgroup of its own (operation 'reclaim', line 2)"),
        ("online\n", "takes memory away from the whole machine"),
        ("proc A\ndevice sync\n", "chooses the emulated swap device (operation 'device', line 2)"),
    ]:
        performance = taken.perform(parse(text))
        assert performance.missing.startswith(reason)
        assert performance.lines == ()


@pytest.mark.slow
def test_what_is_done_to_pages_shows(taken: Live) -> None:
    """Operations that recordings hardly have, on a real kernel: the answers are those of the emulator's forms."""
    text = """\
        proc A
        map A r 4
        fillseq A r 0 3 5
        read A r 3 4
        shared A r 0
        shared A r 3
        where A r 0
        fork A B
        shared A r 1
        munmap A r 0 1
        shared A r 0
        fillrange A r 0 2 9
        check A r 1 6
        check A r 1 7
        mremap A r s
        get run
        get nonsense
        set ../run 1
        drain off
        drain
        sleep 1
    """
    performance = taken.perform(parse(text))
    answers = [line for line in performance.lines if line.startswith("=")]
    assert [answer for answer in answers if answer != "= ok"] == [
        "= alone n=1 node=0: A.r.0", "= zero n=1: A.r.3", "= node 0", "= anon n=2 node=0: A.r.1 B.r.1",
        "= none n=1: A.r.0", "= error EFAULT", "= BAD 1", "= error EFAULT", "= 0", "= absent", "= absent",
    ]  # fmt: skip


@pytest.mark.slow
def test_what_grows_is_counted_from_the_start(taken: Live) -> None:
    """Results do not depend on what KSM has done on this machine before."""
    scan = "proc A\nmap A r 3\nfillseq A r 0 3 1\nmergeable A r\nset run 1\nscan 2\nget pages_scanned\ncounters\n"
    performances = [taken.perform(parse(scan)) for _ in range(2)]
    assert performances[0].lines == performances[1].lines
    assert performances[0].lines[-3] == "= 6"


@pytest.mark.slow
def test_a_moved_region_keeps_its_holes(taken: Live) -> None:
    """Linux moves a region in parts since 6.17: what was not mapped stays so."""
    if taken.version < (6, 17):
        pytest.skip(f"Linux {taken.release} moves no region in parts")
    text = "proc A\nmap A r 3\nfillseq A r 0 3 1\nmunmap A r 1 2\nmremap A r s\nframes\nfill A s 1 3\nfill A s 2 3\n"
    assert taken.perform(parse(text)).lines[-5:] == (
        "=   alone n=2 node=0: A.s.0 A.s.2", "> fill A s 1 3", "= error EFAULT", "> fill A s 2 3", "= ok",
    )  # fmt: skip


@pytest.mark.slow
def test_a_process_of_others_is_noticed(live: Live) -> None:
    """Who has registered with KSM is named, and nothing is started."""
    pages = Pages()
    world = World(pages)
    try:
        world.start("A")
        other = world.living["A"]
        assert other.ask("map", other.top, 1, 0, pages.calls.mbind) == 0
        assert other.ask("madvise", other.top, 1, 12) == 0
        with pytest.raises(UsageError, match=rf"process {other.pid} \(.*\) takes part in KSM; stop it"), live.taken():
            pytest.fail("it was taken")
    finally:
        world.end()
        pages.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_knobs_are_put_back_even_if_it_is_killed(live: Live, number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM and even SIGKILL in the middle of a scenario leave the machine as it was."""
    before = knobs()
    lines = ("proc A", "map A r 8", "fillrange A r 0 8 1", "mergeable A r", "set run 1", "sleep 60000")
    (tmp_path / "long.txt").write_text("\n".join(lines))
    running = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "conform", str(tmp_path / "long.txt"), "--live"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = monotonic() + 30
    while knobs()["run"] != "1\n" and monotonic() < until and running.poll() is None:
        sleep(0.01)
    running.send_signal(number)
    _, err = running.communicate()
    if "another live run" in err or "takes part" in err:
        pytest.skip(err)
    assert running.returncode == (-number if number == signal.SIGKILL else 130)
    until = monotonic() + 10
    while (knobs() != before or in_use()) and monotonic() < until:
        sleep(0.01)
    assert knobs() == before
    assert in_use() == ""


@pytest.mark.slow
def test_the_emulator_and_this_machine_do_the_same(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says so in its summary, also for random scenarios."""
    status = main(["conform", str(SCENARIOS / "01_merge2.txt"), "--live"])
    captured = capsys.readouterr()
    if status == 2 and ("no kernel that is emulated" in captured.err or "another live run" in captured.err):
        pytest.skip(captured.err)
    assert (status, captured.out, captured.err) == (0, "", "1 scenario: 1 same\n")
