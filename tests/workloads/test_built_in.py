"""The built-in workloads: nothing is found on the default kernel, races occur, and equal seeds give equal runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import trio

from ksmactors.errors import ScenarioError, UsageError
from ksmactors.events import catalogue as ev
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.plugins import load_workload, names
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject

BUILT_IN = [
    "exit_race", "fork_storm", "knob_flip", "numa_pingpong", "scenario", "vm_fleet",
    "workloads.hot_remove:HotRemove", "workloads.swap_pressure:SwapPressure", "services",
]  # fmt: skip

Run = Callable[..., Outcome]


def one(
    name: str, seed: int = 1, strategy: str = "random", nodes: int = 2, watch: str = "all", **params: str
) -> Outcome:
    """Run one schedule of a workload."""
    return trio.run(run_schedule, make_subject(name, params=params, nodes=nodes, watch=watch), seed, strategy)


@pytest.fixture
def run() -> Run:
    """Run one schedule of a workload, however often it has been run."""
    return one


@cache
def known(name: str, seed: int, strategy: str) -> Outcome:
    """What a schedule comes to, run once for all tests that look at it."""
    return one(name, seed, strategy)


@pytest.mark.parametrize("strategy", ["random", "round_robin", "pct", "pos"])
@pytest.mark.parametrize("name", BUILT_IN)
def test_nothing_is_found(name: str, strategy: str) -> None:
    """On the default kernel no watcher reports, under any strategy; `test_pages_are_merged_and_races_occur` looks at
    more seeds."""
    outcome = known(name, 0, strategy)
    assert outcome.verdict is Verdict.OK, outcome.error


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_schedule_is_of_a_useful_length(name: str) -> None:
    """One schedule is long enough for pages to merge, and short enough that hundreds take a minute."""
    steps = [known(name, seed, "random").steps for seed in range(3)]

    assert 800 < sum(steps) / len(steps) < 7000, steps


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILT_IN)
def test_pages_are_merged_and_races_occur(name: str) -> None:
    """Within a few schedules pages are merged, migrated and copied on write, some race is lost and handled, and nothing
    is found."""
    total = [0] * len(CATALOGUE)
    for seed in range(4):
        outcome = known(name, seed, "random")
        assert outcome.verdict is Verdict.OK, (seed, outcome.error)
        total = [one + other for one, other in zip(total, outcome.counts, strict=True)]
    happened = {event.name for event, count in zip(CATALOGUE, total, strict=True) if count}

    assert {"stable_tree_append", "migrate_page", "do_wp_page"} <= happened
    assert len({name for name in happened if name.startswith("race.")}) >= 2, happened


@pytest.mark.parametrize("name", BUILT_IN)
def test_equal_seeds_give_equal_runs(run: Run, name: str) -> None:
    """The same seed gives the same events, whether somebody watches or not; another seed gives others."""
    first = run(name, 0, watch="none")
    assert first.digest == known(name, 0, "random").digest
    assert first.digest != known(name, 1, "random").digest


SCRIPT = """
import sys, trio
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
for name, seed, strategy in zip(*[iter(sys.argv[1:])] * 3):
    print(trio.run(run_schedule, make_subject(name), int(seed), strategy).digest.hex())
"""


@pytest.mark.slow
def test_digests_do_not_depend_on_the_hash_seed() -> None:
    """Another process with another PYTHONHASHSEED gives the same digests, also of the classic models."""
    models = [name for name in names("workloads") if name.startswith("classic.")]
    schedules = [*((name, 0, "random") for name in BUILT_IN), *((name, 7, "pos") for name in models)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *(str(part) for schedule in schedules for part in schedule)],
        env={**os.environ, "PYTHONHASHSEED": "4711"}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert len(models) == 9
    assert done.stdout.split() == [known(*schedule).digest.hex() for schedule in schedules]


def test_the_image_does_not_matter(run: Run, tmp_path: Path) -> None:
    """vm_fleet gives the same digest for any image: only the order of its contents counts."""
    image = tmp_path / "image"
    image.write_bytes(b"".join(bytes([200 - number]) * 4096 for number in range(8)))

    few = {"guests": "2", "rounds": "2", "watch": "none"}
    assert run("vm_fleet", 3, **few).digest == run("vm_fleet", 3, **few, image=str(image)).digest


def test_an_image_that_will_not_do(tmp_path: Path) -> None:
    """A missing image is a usage error before the first schedule."""
    with pytest.raises(UsageError, match=r"image .*gone: cannot be read"):
        load_workload("vm_fleet")(image=tmp_path / "gone")


class TestScenario:
    def write(self, tmp_path: Path, text: str) -> str:
        path = tmp_path / "mine.txt"
        path.write_text(text)
        return str(path)

    def test_nodes_are_folded(self, run: Run) -> None:
        """The default scenario, which names two nodes, runs on machines with fewer and with more."""
        assert {run("scenario", nodes=nodes).verdict for nodes in (1, 3)} == {Verdict.OK}

    def test_processes_run_concurrently(self, run: Run, tmp_path: Path) -> None:
        """Lines of different processes are done by different threads; a name may be used again after an exit."""
        file = self.write(
            tmp_path, "proc A\nmap A r 2\nfill A r 0 5\nscan 1\nexit A\nproc A\nmap A s 1\nread A s 0 1\n"
        )

        assert run("scenario", file=file).verdict is Verdict.OK

    def test_memory_that_goes(self, run: Run, tmp_path: Path) -> None:
        """Lines about swap and about memory hot-remove are done, too, by the process or by the host."""
        file = self.write(
            tmp_path, "requires swap\nproc A\nmap A r 2 node 1\nfill A r 0 5\nscan 1\nswapout A r\nreclaim 4M\n"
            "read A r 0 2\noffline A r 0\nscan 1\nonline\n"
        )  # fmt: skip
        outcome = run("scenario", file=file)

        assert outcome.verdict is Verdict.OK
        assert outcome.counts[ev.OFFLINE_PAGES] == 1

    def test_lines_of_interleavings(self, run: Run, tmp_path: Path) -> None:
        """What is in the background is done like everything else, holds are left out; locks, pins and prctl are calls
        of the process, a device is the machine's."""
        file = self.write(
            tmp_path, "device sync\nproc A\nmap A r 3\nfill A r 0 5\nprctl A on\nmlock A r 0 1\nmunlock A r\n"
            "pin A r 0\nunpin A r 0\nfree A r 0 1\nhold ksmd at get_ksm_page\nbg step 1\nrelease ksmd\n"
            "bg mremap A r s 1 2\nbg set run 1\nfill A s 0 5\nsignal A\nbg exit A\n"
        )  # fmt: skip
        outcome = run("scenario", file=file)

        assert outcome.verdict is Verdict.OK
        assert outcome.counts[ev.MLOCK] == 2
        assert outcome.counts[ev.MREMAP] == 1

    def test_a_line_that_is_none(self, tmp_path: Path) -> None:
        """A line that is no operation is refused with its number."""
        with pytest.raises(ScenarioError, match=r"mine\.txt:2: unknown operation 'mop'"):
            load_workload("scenario")(file=self.write(tmp_path, "proc A\nmop A r 1\n"))

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("requires nodes 3\nproc A\n", r"needs a machine with 3 nodes: --nodes 3"),
            ("requires knob max_page_sharing\nproc A\n", r"requires the knob max_page_sharing"),
        ],
    )
    def test_a_machine_that_will_not_do(self, run: Run, tmp_path: Path, text: str, why: str) -> None:
        """A scenario for another machine says what it needs."""
        with pytest.raises(UsageError, match=why):
            run("scenario", file=self.write(tmp_path, text))
