"""What a live run refuses, puts back and compares with, on a machine that is made up: no root and no KSM needed."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EEXIST, ENOMEM
from pathlib import Path
from typing import cast

import pytest

from ksmactors.cli import conform as command
from ksmactors.cli import main
from ksmactors.conformance import live_guard
from ksmactors.conformance.emulator import Transcript
from ksmactors.conformance.emulator_driver import OPERATIONS as EMULATED
from ksmactors.conformance.language import Scenario
from ksmactors.conformance.live import INTERLEAVED, NOT_LIVE, OPERATIONS, memory_nodes
from ksmactors.conformance.live_ksm import NEEDED, Disturbed, LiveKsm, in_use
from ksmactors.conformance.live_pages import CALLS, Pages
from ksmactors.conformance.live_world import World
from ksmactors.conformance.page_map import NamedRegion
from ksmactors.conformance.recording import read_recording
from ksmactors.errors import UsageError
from ksmactors.mm.const import PAGE_SIZE

HERE = Path(__file__).parent
SCENARIOS = HERE / "scenarios"

BASE = {"run": "0", "advisor_mode": "[none] scan-time", "pages_to_scan": "100", "sleep_millisecs": "20"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A made-up /sys/kernel/mm/ksm and /proc, looked at by root."""
    sysfs, proc = tmp_path / "ksm", tmp_path / "proc"
    sysfs.mkdir()
    for name in NEEDED:
        (sysfs / name).write_text(BASE.get(name, "0") + "\n")
    process(proc, 37, "ksmd", "")
    (proc / "37" / "stat").write_text("37 (ksmd) S 2 0 0\n")
    (proc / "37" / "wchan").write_text("ksm_scan_thread")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return sysfs, proc


def process(proc: Path, pid: int, name: str, stat: str) -> None:
    """A process in a made-up /proc."""
    directory = proc / str(pid)
    directory.mkdir(parents=True)
    (directory / "comm").write_text(f"{name}\n")
    (directory / "cmdline").write_text("" if name == "ksmd" else name)
    (directory / "ksm_stat").write_text(stat)


def test_a_machine_without_ksm_is_refused(tmp_path: Path) -> None:
    """The message says what is not there and what it takes."""
    with pytest.raises(UsageError, match=r"there is no .*/none; it needs a Linux kernel with CONFIG_KSM"):
        LiveKsm(tmp_path / "none", tmp_path)


def test_only_root_may(machine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody else is told so before anything is read."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="only root"):
        LiveKsm(*machine)


@pytest.mark.parametrize("knob", ["run", "merge_across_nodes", "stable_node_chains"])
def test_a_missing_knob_is_named(machine: tuple[Path, Path], knob: str) -> None:
    """A kernel without NUMA, or an old one, cannot do what scenarios are made of."""
    (machine[0] / knob).unlink()
    with pytest.raises(UsageError, match=f"no .*/{knob}; it needs 4.20"):
        LiveKsm(*machine)


def test_ksmd_must_be_seen(machine: tuple[Path, Path]) -> None:
    """In a container of its own there is no ksmd to be stepped; a program of that name is none."""
    (machine[1] / "37" / "cmdline").write_text("ksmd")
    with pytest.raises(UsageError, match="ksmd is not among the processes"):
        LiveKsm(*machine)


def test_a_free_machine_is_free(machine: tuple[Path, Path]) -> None:
    """Processes that do not take part do not matter; neither does one that has just exited."""
    process(machine[1], 5, "sh", "ksm_rmap_items 0\nksm_merge_any: no\nksm_mergeable: no\n")
    process(machine[1], 6, "zombie", "")
    (machine[1] / "7").mkdir()
    assert LiveKsm(*machine).busy() == ""


@pytest.mark.parametrize(
    ("file", "value", "message"),
    [
        ("run", "1", "run is 1, so KSM is in use; stop its users, then write 0 to"),
        ("pages_shared", "3", "pages_shared is 3, so processes have pages in KSM"),
        ("pages_volatile", "1", "pages_volatile is 1"),
    ],
)
def test_a_ksm_in_use_is_refused(machine: tuple[Path, Path], file: str, value: str, message: str) -> None:
    """Nothing is changed: the knobs are as they were."""
    (machine[0] / file).write_text(value)
    before = {path.name: path.read_text() for path in machine[0].iterdir()}
    with pytest.raises(UsageError, match=message), LiveKsm(*machine).taken():
        pytest.fail("it was taken")
    assert {path.name: path.read_text() for path in machine[0].iterdir()} == before


@pytest.mark.parametrize(
    "stat", ["ksm_rmap_items 0\nksm_mergeable: yes\n", "ksm_rmap_items 0\nksm_merge_any: yes\n", "ksm_rmap_items 9\n"]
)
def test_who_takes_part_is_named(machine: tuple[Path, Path], stat: str) -> None:
    """By PID and name; advised memory, merge-any and items left behind all count."""
    process(machine[1], 123, "qemu", stat)
    assert in_use(machine[1]) == "process 123 (qemu) takes part in KSM"
    assert "process 123 (qemu)" in LiveKsm(*machine).busy()


def test_the_knobs_are_put_back_at_the_end(machine: tuple[Path, Path]) -> None:
    """All that can be written, also after an exception; the advisor's mode without its brackets."""
    sysfs = machine[0]

    def turn_knobs() -> None:
        with LiveKsm(*machine).taken():
            (sysfs / "run").write_text("1")
            (sysfs / "pages_to_scan").write_text("77")
            (sysfs / "max_page_sharing").write_text("2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        turn_knobs()
    assert (sysfs / "run").read_text() == "0"
    assert (sysfs / "pages_to_scan").read_text() == "100"
    assert (sysfs / "max_page_sharing").read_text() == "0"


def test_ksmd_must_be_seen_asleep(machine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody could tell when a batch has ended: one that is asleep elsewhere, or a kernel that does not say."""
    monkeypatch.setattr("ksmactors.conformance.live_ksm.FREE_SECONDS_MAX", 0)
    (machine[1] / "37" / "wchan").write_text("0")
    with pytest.raises(UsageError, match="wchan must say ksm_scan_thread"), LiveKsm(*machine).taken():
        pytest.fail("it was taken")


def test_a_knob_that_could_not_be_put_back_is_an_error(machine: tuple[Path, Path]) -> None:
    """The guard names it; the command does not end as if nothing were."""

    def lose_a_knob() -> None:
        with LiveKsm(*machine).taken():
            (machine[0] / "sleep_millisecs").unlink()
            (machine[0] / "sleep_millisecs").mkdir()

    with pytest.raises(Disturbed, match="not every knob"):
        lose_a_knob()


def test_two_live_runs_exclude_each_other(machine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is refused; when the first has ended it can go on."""
    monkeypatch.setattr("ksmactors.conformance.live_ksm.LOCK_SECONDS_MAX", 0)
    with LiveKsm(*machine).taken(), pytest.raises(UsageError, match="another live run"), LiveKsm(*machine).taken():
        pytest.fail("it was taken twice")
    with LiveKsm(*machine).taken():
        pass


def test_the_guard_unmerges_first_and_starts_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Knobs are refused while pages are shared, and pages_to_scan while there is an advisor."""
    written: list[tuple[str, str]] = []

    def store(directory: Path, knob: str, value: str) -> str:
        written.append((knob, value))
        return ""

    monkeypatch.setattr(live_guard, "store", store)
    knobs = {"advisor_mode": "scan-time", "pages_to_scan": "100", "run": "1", "use_zero_pages": "0"}
    assert live_guard.restore(tmp_path, knobs) == []
    assert written == [
        ("run", "2"), ("advisor_mode", "none"), ("pages_to_scan", "100"), ("use_zero_pages", "0"),
        ("advisor_mode", "scan-time"), ("run", "1"),
    ]  # fmt: skip


def test_a_knob_that_stays_is_told(tmp_path: Path) -> None:
    """The others are put back all the same."""
    (tmp_path / "sleep_millisecs").mkdir()
    problems = live_guard.restore(tmp_path, {"sleep_millisecs": "20", "pages_to_scan": "100", "run": "0"})
    assert problems == ["sleep_millisecs could not be set back to 20: Is a directory"]
    assert (tmp_path / "pages_to_scan").read_text() == "100"


@pytest.mark.slow
def test_the_guard_outlives_whoever_started_it(tmp_path: Path) -> None:
    """The end of its input is enough: signals meant for a whole terminal do not reach it."""
    guard = subprocess.Popen(
        [sys.executable, str(Path(live_guard.__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert guard.stdin is not None
    assert guard.stdout is not None
    guard.stdin.write(json.dumps({"directory": str(tmp_path), "knobs": {"run": "0", "smart_scan": "1"}}) + "\n")
    guard.stdin.flush()
    assert guard.stdout.readline() == "ready\n"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        guard.send_signal(number)
    guard.stdin.close()
    assert guard.wait() == 0
    guard.stdout.close()
    assert ((tmp_path / "run").read_text(), (tmp_path / "smart_scan").read_text()) == ("0", "1")


@pytest.mark.parametrize(("text", "nodes"), [("0\n", 1), ("0-1\n", 2), ("0,2\n", 1), ("0-1,2-3\n", 4), ("1\n", 1)])
def test_nodes_with_memory_are_counted_from_zero(tmp_path: Path, text: str, nodes: int) -> None:
    """A gap ends it: nodes are numbered in scenarios."""
    (tmp_path / "has_memory").write_text(text)
    assert memory_nodes(tmp_path / "has_memory") == nodes
    assert memory_nodes(tmp_path / "none") == 1


def test_every_operation_is_performed_live_or_says_why_not() -> None:
    """No operation is known to the emulator alone."""
    assert set(OPERATIONS) | set(NOT_LIVE) | INTERLEAVED == set(EMULATED)
    assert not set(OPERATIONS) & (set(NOT_LIVE) | INTERLEAVED)


class Nobody:
    """In place of what looks at page frames."""


@pytest.fixture
def world() -> Iterator[World]:
    """Real processes, of which nobody looks at the frames."""
    world = World(cast("Pages", Nobody()))
    yield world
    world.end()
    assert world.living == {}


@pytest.mark.slow
def test_processes_do_with_their_memory_what_they_are_told(world: World) -> None:
    """A fork has what its parent had, and each writes its own; tokens are told apart; zero is a page of zeros."""
    world.start("A")
    parent = world.living["A"]
    region = NamedRegion("r", parent.top, 3)
    assert parent.ask("map", region.start, 3, 0, CALLS[platform.machine()].mbind) == 0
    parent.add(region)
    assert parent.ask("fill", region.start, 2, (1 << 64) - 1, 1) == 0  # the token after the last is 0
    assert parent.ask("check", region.start, 1, (1 << 64) - 1, 0) == 0
    assert parent.ask("check", region.start + PAGE_SIZE, 2, 0, 0) == 0
    assert world.fork(parent, "B") == 0
    child = world.living["B"]
    assert child.ask("fill", region.start, 1, 5, 0) == 0
    assert (child.ask("check", region.start, 1, 5, 0), parent.ask("check", region.start, 1, 5, 0)) == (0, 1)
    assert parent.ask("map", region.start, 1, 0, 0) == -EEXIST
    world.exit("A")
    assert child.ask("mremap", region.start, 3, child.top) == 0
    assert child.ask("check", child.top, 1, 5, 0) == 0
    assert child.ask("madvise", region.start, 3, 4) == -ENOMEM
    assert child.ask("munmap", child.top, 3) == 0


@pytest.mark.slow
def test_a_process_that_died_is_noticed(world: World) -> None:
    """Short of memory the kernel may kill one: the scenario was disturbed then, and the others are ended."""
    for name in "ABC":
        world.start(name)
    for name in "AB":
        os.kill(world.living[name].pid, signal.SIGKILL)
    with pytest.raises(Disturbed, match=r"process A .* has died|process A .* could not be asked"):
        world.living["A"].ping()
    with pytest.raises(Disturbed, match=r"process A .* has died|process A .* could not be asked"):
        world.exit("A")
    world.living["C"].ping()


class MadeUp:
    """In place of this machine: its kernel does what v6.18 did with 01_merge2, and lacks all else."""

    release, nodes = "6.18.7-made-up", 2
    first_line = "> proc A"
    performed = ("01_merge2",)

    def __init__(self) -> None:
        self.version = tuple(int(number) for number in self.release.split(".")[:2])

    @contextmanager
    def taken(self) -> Iterator[None]:
        yield

    def lacks(self, scenario: Scenario) -> str:
        return "" if scenario.name in self.performed else "needs something else"

    def perform(self, scenario: Scenario) -> Transcript:
        if missing := self.lacks(scenario):
            return Transcript(scenario, (), missing=missing)
        lines = read_recording(HERE / "results" / "v6.18" / "01_merge2.out").lines
        kept = (line for line in lines if not line.startswith("=     "))
        return Transcript(scenario, tuple(line.replace("> proc A", self.first_line) for line in kept))


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> type[MadeUp]:
    """The command takes it for this machine; each test has a class of its own to change."""
    machine = type("Machine", (MadeUp,), {})
    monkeypatch.setattr(command, "Live", machine)
    return machine


MERGE2, MERGE3 = str(SCENARIOS / "01_merge2.txt"), str(SCENARIOS / "02_merge3.txt")


@pytest.mark.usefixtures("made_up")
def test_the_running_version_says_which_kernel_is_emulated(capsys: pytest.CaptureFixture[str]) -> None:
    """What could not be run is said; it is no difference."""
    assert main(["conform", MERGE2, MERGE3, "--live"]) == 0
    assert capsys.readouterr() == ("", "02_merge3 needs something else\n2 scenarios: 1 same, 1 not run\n")
    assert main(["conform", MERGE3, "--live", "--json"]) == 4
    report = json.loads(capsys.readouterr().out)
    assert (report["scenarios"][0]["kernel"], report["scenarios"][0]["verdict"]) == ("v6.18", "not run")


def test_what_would_crash_this_machine_is_refused(
    made_up: type[MadeUp], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scenario that ends in a memory error on the emulator as the running kernel is not performed; its control is."""
    crashing = "h2_unstable_root_left"
    made_up.performed = ("01_merge2", crashing)
    monkeypatch.setattr(made_up, "perform", lambda _, scenario: pytest.fail(f"{scenario.name} was performed"))
    assert main(["conform", str(HERE / "confirmed" / "scenarios" / f"{crashing}.txt"), "--live"]) == 4
    err = capsys.readouterr().err
    assert f"{crashing} is refused on this machine: v6.18 ends in a memory error on the emulator: lifetime" in err
    with pytest.raises(pytest.fail.Exception):
        main(["conform", MERGE2, "--live"])


def test_a_difference_from_this_machine_is_a_diff(made_up: type[MadeUp], capsys: pytest.CaptureFixture[str]) -> None:
    """What this machine does has a minus, what the emulator does a plus."""
    made_up.first_line = "> proc B"
    assert main(["conform", MERGE2, "--live"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("--- Linux 6.18.7-made-up\n+++ ksmactors v6.18\n")
    assert "\n-> proc B\n+> proc A\n" in out
    assert err == "1 scenario: 1 different\n"


def test_this_machine_is_compared_with_a_recording(made_up: type[MadeUp], capsys: pytest.CaptureFixture[str]) -> None:
    """Structures that nobody can see from outside, and how many nodes there are, are no difference."""
    made_up.nodes = 1
    recorded = HERE / "results" / "v6.18"
    assert main(["conform", MERGE2, "--live", "--against", str(recorded)]) == 0
    made_up.first_line = "> proc B"
    assert main(["conform", MERGE2, "--live", "--against", str(recorded)]) == 1
    assert "+++ Linux 6.18.7-made-up\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("release", "status", "message"),
    [
        ("6.20.1", 0, "ksmactors: Linux 6.20.1 is compared with v6.18, the nearest older kernel that is emulated"),
        ("5.4.0", 2, "--live: the running kernel is 5.4.0, and no kernel that is emulated is near it"),
    ],
)
def test_a_kernel_that_is_not_emulated_has_a_neighbour_or_none(
    made_up: type[MadeUp], capsys: pytest.CaptureFixture[str], release: str, status: int, message: str
) -> None:
    """Which it is compared with is said; --kernel takes any."""
    made_up.release = release
    assert main(["conform", MERGE2, "--live"]) == status
    assert message in capsys.readouterr().err
    assert main(["conform", MERGE2, "--live", "--kernel", "v6.18"]) == 0
    assert message not in capsys.readouterr().err


@pytest.mark.usefixtures("made_up")
def test_a_wrong_kernel_is_refused_before_anything_is_touched(capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    assert main(["conform", MERGE2, "--live", "--kernel", "v9"]) == 2
    assert capsys.readouterr().err.startswith("ksmactors: no kernel 'v9'")
