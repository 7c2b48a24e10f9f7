"""Campaigns in several processes: what comes out does not depend on how many there are, or on which of them die."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
import pytest
import trio

from ksmactors.campaign import driving, fork_server
from ksmactors.campaign.blocks import SCHEDULES_MAX, Piece, block_ends, coalesced, pieces
from ksmactors.campaign.driving import Drive
from ksmactors.campaign.store_files import open_to_read
from ksmactors.campaign.stress import Campaign, Plan, parse_seeds
from ksmactors.campaign.summary import Found
from ksmactors.campaign.worker_pool import workers_of
from ksmactors.campaign.worker_processes import WorkerProcesses
from ksmactors.cli import main
from ksmactors.errors import UsageError
from ksmactors.run.subject import Subject, make_subject
from tests.helpers.children import descendants, descendants_of, started, wait_until_gone
from tests.helpers.ready import NEW_INTERPRETER

PROGRAMS = Path(__file__).with_name("programs.py")


SMALL = {"exit_race": {"generations": 1, "pages": 1}}
"""Parameters of a workload that is as large as it must be to have a mark, races and locks."""


@pytest.fixture
def new_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork server is what it is outside of tests."""
    monkeypatch.setattr(fork_server, "started", NEW_INTERPRETER)


def programs(*names: str, max_steps: int = 20_000) -> list[Subject]:
    """Test programs and built-in workloads as subjects."""
    return [
        make_subject(f"{PROGRAMS}:{name}" if name[0].isupper() else name, params=SMALL.get(name), max_steps=max_steps)
        for name in names
    ]


@dataclass
class Ended:
    """A campaign that has ended."""

    drive: Drive
    told: list[str] = field(default_factory=list)

    def sums(self) -> dict[str, Any]:
        """What the campaign says, apart from the directory of its files."""
        said = self.drive.tally.as_json()
        for finding in said["findings"]:
            finding["file"] = finding["file"] and Path(finding["file"]).name
        return said | {"unseen": self.drive.tally.unseen, "locks": list(self.drive.tally.locks.edges.values())}


def run(plan: Plan, jobs: int, *, stop_at_first: bool = False) -> Ended:
    """Run a campaign."""
    workers = workers_of(plan, jobs, stop_at_first=stop_at_first)
    drive = Drive(plan, workers=workers, stop_at_first=stop_at_first)
    ended = Ended(drive)

    def note(found: Found) -> None:
        assert found.outcome.defect is not None
        ended.told.append(found.outcome.defect.signature)

    drive.campaign.on_found = note
    try:
        trio.run(drive.run)
    finally:
        if workers is not None:
            workers.close()
    return ended


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("names", [("Quiet", "Deadlock", "exit_race"), ("classic.abba",), ("Endless", "Quiet")])
def test_sums_do_not_depend_on_the_number_of_processes(names: tuple[str, ...], tmp_path: Path) -> None:
    """One process and five agree with a plain campaign in every sum, every finding and every finding file."""
    subjects, files = programs(*names, max_steps=5_000 if "exit_race" in names else 100), []
    seeds = range(3, 11) if "Endless" in names else range(3, 21)
    strategy = "random" if "Endless" in names else "portfolio"
    plain = Campaign(Plan(subjects, seeds, strategy, tmp_path))
    trio.run(plain.run)
    expected = Ended(Drive(plain.plan))
    expected.drive.campaign = plain
    files.append({path.name for path in tmp_path.iterdir()})
    for jobs in (1, 5):
        out = tmp_path / str(jobs)
        out.mkdir()
        ended = run(Plan(subjects, seeds, strategy, out), jobs)
        assert ended.sums() == expected.sums()
        assert list(ended.drive.tally.found) == ended.told[: len(ended.drive.tally.found)]
        files.append({path.name for path in out.iterdir()})
        assert ended.drive.seeds_left == ""
    assert all(one == files[0] for one in files)


@pytest.mark.slow
@pytest.mark.parametrize("forked", [True, False])
@pytest.mark.usefixtures("new_interpreter")
def test_workers_come_from_this_process_or_a_new_one(forked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a fork is not safe, since there are several threads, a new interpreter does the same; so it does when the
    server that workers are forked from has died."""
    monkeypatch.setattr(fork_server.threading, "active_count", lambda: 1 if forked else 2)
    plan = Plan(programs("Quiet", "Deadlock"), range(24), "random")
    processes = WorkerProcesses()
    os.kill(processes.server_pid, signal.SIGKILL if forked else 0)
    drive = Drive(plan, workers=workers_of(plan, 2, processes=processes))
    trio.run(drive.run)
    processes.close()
    assert Ended(drive).sums() == run(plan, 1).sums()


@pytest.mark.slow
def test_a_learning_strategy_does_not_depend_on_it() -> None:
    """`guided` learns from smaller seeds; its blocks begin where it learns afresh, or it learns again."""
    plan = Plan(programs("classic.reorder_3"), range(100, 200), "guided:family=40")
    assert run(plan, 2).sums() == run(plan, 1).sums()


@pytest.mark.slow
def test_the_first_finding_ends_all_processes() -> None:
    """`stop_at_first` ends the campaign with the same schedule, and leaves the same seeds."""
    plan = Plan(programs("classic.abba"), range(500), "random")
    one, three = run(plan, 1, stop_at_first=True), run(plan, 3, stop_at_first=True)
    assert one.sums() == three.sums()
    assert one.drive.seeds_left == three.drive.seeds_left != ""


@pytest.mark.slow
def test_a_crash_ends_all_processes(tmp_path: Path) -> None:
    """Code that raises ends the campaign at the same seed, with its traceback."""
    for out in ("one", "two"):
        (tmp_path / out).mkdir()
    subjects = programs("Quiet", "Crash")
    one = run(Plan(subjects, range(40), "random", tmp_path / "one"), 1)
    two = run(Plan(subjects, range(40), "random", tmp_path / "two"), 2)
    assert one.sums() == two.sums()
    crash = two.drive.tally.crash
    assert crash is not None
    assert crash.outcome.defect is not None
    assert "KeyError: 'boom'" in crash.outcome.defect.traceback


@pytest.mark.slow
def test_an_interruption_in_a_workload_ends_all(tmp_path: Path) -> None:
    """What raises KeyboardInterrupt in a worker is Ctrl-C of the campaign."""
    drive = run(Plan(programs("Interrupted"), range(200), "random", tmp_path), 2).drive
    assert drive.interrupted
    assert drive.seeds_left


KILLER = """
import os, signal
from ksmactors.workload import Host, Workload

class Killer(Workload):
    "kills its process with seeds that end in 7, if it is a worker"
    async def run(self, host: Host) -> None:
        if host.draw("kill", 40) == 7 and os.getpid() != {parent}:
            if {always} or not os.path.exists("{mark}"):
                open("{mark}", "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
"""


KILLING = range(24, 48)
"""Seeds of which one or two kill."""


def killer(tmp_path: Path, *, always: bool) -> Subject:
    """A workload that kills the worker that runs it: whenever it comes to that, or once."""
    source = tmp_path / "killer.py"
    source.write_text(KILLER.format(parent=os.getpid(), always=always, mark=tmp_path / "mark"))
    return make_subject(f"{source}:Killer")


@pytest.mark.slow
def test_a_dead_worker_costs_nothing(tmp_path: Path) -> None:
    """A block whose worker has died is run by another one: the sums are those of one process."""
    plan = Plan([killer(tmp_path, always=False)], KILLING, "random")
    two = run(plan, 2)
    assert (tmp_path / "mark").exists()
    assert two.sums() == run(plan, 1).sums()
    assert not two.drive.tally.found


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [2, pytest.param(5, marks=pytest.mark.nightly)])
def test_what_kills_its_worker_is_a_finding(jobs: int, tmp_path: Path) -> None:
    """A schedule that always kills its process is a finding of its own kind; all the others count. More processes than
    two repeat that."""
    drive = run(Plan([killer(tmp_path, always=True)], KILLING, "random", tmp_path), jobs).drive
    (found,) = drive.tally.found.values()
    assert found.outcome.defect is not None
    assert found.outcome.defect.kind == "worker_died"
    assert "ksmactors run" in found.problem
    assert f"--seed {found.outcome.seed}" in found.problem
    assert (drive.tally.schedules, drive.seeds_left, drive.tally.exit_status) == (len(KILLING), "", 1)


@pytest.mark.slow
def test_the_log_is_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The logs of workers become one log, byte for byte that of one process; so does what workloads print."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    logs = [tmp_path / "one.jsonl", tmp_path / "three.jsonl"]
    for log, jobs in zip(logs, "13", strict=True):
        line = [
            "stress",
            f"{PROGRAMS}:Quiet",
            "litmus.scan_meets_migration",
            "--seeds",
            "10",
            "-q",
            "--jobs",
            jobs,
            "--log",
            str(log),
        ]
        assert main([*line, "--detail"]) == 0
    assert logs[0].read_bytes() == logs[1].read_bytes()
    assert not list(tmp_path.glob(".ksmactors-log-*"))


@pytest.mark.slow
def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that reads another workload file than its parent refuses to go on."""
    monkeypatch.setattr(fork_server, "forked", NEW_INTERPRETER)  # a fork has what its parent has read
    subject = killer(tmp_path, always=False)
    (tmp_path / "killer.py").write_text(KILLER.format(parent=0, always=False, mark=tmp_path / "mark"))
    with pytest.raises(UsageError, match="has changed since the campaign began"):
        run(Plan([subject], range(120), "random"), 2)


def test_a_strategy_that_writes_stays_in_one_process(tmp_path: Path) -> None:
    """Several processes would write into its file at once."""
    assert workers_of(Plan(programs("Quiet"), range(3), f"recording:to={tmp_path / 'x'},of=random"), 8) is None


STUCK = """
import ctypes
from ksmactors.workload import Host, Workload

class Stuck(Workload):
    "waits in C code with a certain draw, and lets no other thread run"
    async def run(self, host: Host) -> None:
        if host.draw("wait", 40) == 7:
            ctypes.PyDLL(None).pause()
"""


@pytest.mark.slow
def test_a_worker_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after the deadline the campaign ends without it, and with what all workers have handed in."""
    monkeypatch.setattr(driving, "GRACE_SECONDS", 0.1)
    source = tmp_path / "stuck.py"
    source.write_text(STUCK)
    plan = Plan([make_subject(f"{source}:Stuck")], range(1 << 40), "random")
    for seconds in (0.4, 3.0, 30.0):  # a machine under load may take longer for the first schedules
        processes = WorkerProcesses()
        drive = Drive(plan, workers=workers_of(plan, 2, processes=processes), deadline=monotonic() + seconds)
        trio.run(drive.run)
        there = descendants(processes.server_pid)
        assert there
        processes.close()
        assert wait_until_gone([processes.server_pid, *there]) == []
        assert drive.stopped
        if drive.tally.schedules:
            break
    left = sum(len(parse_seeds(part)) for part in drive.seeds_left.split(","))
    assert 0 < drive.tally.schedules == (1 << 40) - left


COUNTED = """
from ksmactors.campaign import workers
from ksmactors.workload import Host, Workload

workers.HAND_IN_SECONDS = 0.0

class Counted(Workload):
    "notes each schedule"
    async def run(self, host: Host) -> None:
        print("printed", host.draw("kind", 3))
        with open("{runs}", "a") as runs:
            runs.write("x")
"""


def interrupted(tmp_path: Path, *more: str, number: signal.Signals, group: bool) -> tuple[dict[str, Any], str]:
    """Interrupt a campaign of two processes in the middle of its first blocks; return what it says, and errors."""
    source, runs = tmp_path / "counted.py", tmp_path / "runs"
    source.write_text(COUNTED.format(runs=runs))
    runs.touch()
    line = ["stress", f"{source}:Counted", f"{PROGRAMS}:Quiet", "--seeds", "100000", "--jobs", "2", "--json"]
    with started([*line, "--out", str(tmp_path / "out"), *more], tmp_path) as process:
        there = descendants_of(process.pid, 3)
        while runs.stat().st_size < 8:
            trio.run(trio.sleep, 0.01)
        (os.killpg if group else os.kill)(process.pid, number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert wait_until_gone(there) == []
    return orjson.loads("{" + out.partition("{")[2]), err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_an_interrupted_campaign_of_processes(number: signal.Signals, group: bool, tmp_path: Path) -> None:
    """An interruption ends the workers, keeps what they have done of their blocks, and says which seeds are left: done
    and left are all."""
    said, err = interrupted(tmp_path, "--log", str(tmp_path / "log"), number=number, group=group)
    left = sum(len(parse_seeds(part)) for part in said["seeds_left"].split(","))
    assert said["schedules"] + left == 100_000
    assert 0 < said["schedules"] < 2 * SCHEDULES_MAX
    assert "Traceback" not in err
    assert "--resume" in err
    with open_to_read(tmp_path / "out") as store:
        assert sum(stop - first for first, stop in store.stored().items()) == said["schedules"]
    logged = {event["seed"] for event in map(orjson.loads, (tmp_path / "log").read_bytes().splitlines())}
    assert len(logged) == said["schedules"]
    assert not list(tmp_path.glob(".ksmactors-log-*"))


def test_blocks_are_disjoint_and_in_order() -> None:
    """Pieces are the seeds asked for, each once; stored blocks are taken whole, or not at all."""
    end = block_ends("random", 1)
    stored = {0: 20, 20: 30, 60: 80, 100: 120}
    cut = list(pieces(range(10, 110), end, stored))
    assert [seed for piece in cut for seed in piece.seeds] == list(range(10, 110))
    assert [piece.index for piece in cut] == [piece.seeds.start - 10 for piece in cut]
    assert [(one.seeds.start, one.seeds.stop) for one in cut if one.stored] == [(20, 30), (60, 80)]
    assert [(one.seeds.start, one.seeds.stop) for one in cut if not one.kept] == [(10, 20), (100, 110)]
    again = list(pieces(range(10, 110), end, stored, again=True))
    assert [piece.seeds for piece in again] == [piece.seeds for piece in cut]
    assert not any(piece.stored for piece in again)


@pytest.mark.parametrize("count", [1, 2, 3, 19, 20, 21, 45, 159, 161, 1000])
def test_the_last_blocks_are_small(count: int) -> None:
    """No block has more than an eighth of the schedules that are left, but for the last few, which have two."""
    cut = list(pieces(range(7, 7 + count), block_ends("random", 1, 7 + count), {}))
    assert [seed for piece in cut for seed in piece.seeds] == list(range(7, 7 + count))
    assert all(len(piece.seeds) <= max(2, (7 + count - piece.seeds.start) // 8) for piece in cut)
    assert count < 300 or len(cut[0].seeds) > 10


def test_seeds_of_any_size_are_cut_lazily() -> None:
    """A campaign without an end to speak of begins at once."""
    first = next(pieces(range(5, 1 << 63), block_ends("random", 3), {}))
    assert first == Piece(0, 0, range(5, SCHEDULES_MAX))


def test_ranges_become_one() -> None:
    """Neighbours are joined, and empty ones dropped."""
    assert coalesced([range(5, 7), range(3, 3), range(5), range(9, 10)]) == [range(7), range(9, 10)]
    last = 2**63 - 1
    assert coalesced([range(5), range(5, last + 1)]) == [range(last), range(last, last + 1)]
