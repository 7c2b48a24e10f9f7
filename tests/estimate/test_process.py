"""Live processes: a /proc made of files, and children that really run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ksmactors.estimate.page_index import BATCH_PAGES, PageIndex, Progress
from ksmactors.estimate.placement import Spread
from ksmactors.estimate.process import ProcessReader
from ksmactors.estimate.procfs import (
    EXCLUSIVE,
    FILE,
    KPF_ZERO_PAGE,
    PRESENT,
    SWAPPED,
    NodeOfFrame,
    ProcessMemory,
)  # fmt: skip
from ksmactors.mm.const import PAGE_SIZE
from tests.estimate.conftest import page, pages, read, silent

OWN = PRESENT | EXCLUSIVE
AT = 0x10000


class FakeProc:
    """A /proc with one process, number 7, and a /sys beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process = root / "7"
        self.process.mkdir(parents=True)
        self._maps: list[str] = []
        for name in ("maps", "mem", "pagemap"):
            (self.process / name).touch()

    def map(self, address: int, entries: list[int], data: bytes, *, access: str = "rw-p", name: str = "") -> None:
        """An area: its pagemap entries, and what mem has there."""
        end = address + len(entries) * PAGE_SIZE
        self._maps.append(f"{address:08x}-{end:08x} {access} 00000000 00:00 0{' ' * 20}{name}")
        (self.process / "maps").write_text("\n".join(self._maps) + "\n")
        self.put("mem", address, data)
        self.put("pagemap", address // PAGE_SIZE * 8, array("Q", entries).tobytes())

    def put(self, name: str, at: int, data: bytes) -> None:
        with (self.process / name).open("r+b") as file:
            file.seek(at)
            file.write(data)


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


class Reading:
    """A reader of the fake process, and what came of it."""

    def __init__(
        self, proc: FakeProc, *, nodes: int = 1, progress: Progress = silent, interval_s: float = 0,
        node_of_frame: NodeOfFrame | None = None,
    ) -> None:  # fmt: skip
        self.page_index = PageIndex(nodes)
        self.problems: list[str] = []
        self.sources: list[Any] = []
        ProcessReader(
            self.page_index, Spread("actual", nodes), self.problems, self.sources, progress, interval_s=interval_s,
            node_of_frame=node_of_frame or NodeOfFrame(sys=proc.root / "none"),
            open_memory=lambda pid: ProcessMemory(pid, proc=proc.root),
        ).read([7], 0)  # fmt: skip


def test_what_ksmd_would_take(proc: FakeProc) -> None:
    """Present anonymous pages of private areas are counted; what is left out is named."""
    entries = [OWN, PRESENT | FILE, SWAPPED, 0, OWN, PRESENT]
    proc.map(AT, entries, pages(1, 2, 3, 4, 1, 5), name="[heap]")
    proc.map(AT * 2, [OWN], page(1), access="rw-s")
    proc.map(AT * 3, [OWN], page(1), access="r-xp", name="[vdso]")
    reading = Reading(proc)

    assert reading.page_index.pages == 3
    (source,) = reading.sources
    assert (source.name, source.kind, source.pages) == ("pid 7", "process", 3)
    assert source.left_out == {"of files or shared": 1, "swapped out": 1}
    (shared,) = reading.page_index.most_shared(9)
    (owner,) = shared.owners
    assert (owner.region.name, owner.pages, owner.first) == ("[heap]", 2, AT)
    assert reading.problems == []


def test_the_zero_page(proc: FakeProc) -> None:
    """Zeros that nobody has to himself are the kernel's zero page, unless kpageflags says otherwise."""
    proc.map(AT, [OWN, PRESENT, PRESENT | 5, PRESENT | 6, PRESENT | 6], pages(0, 0, 0, 0, 7))
    assert Reading(proc).page_index.pages == 2  # the first and the last: frame numbers, but nobody to ask about them

    (proc.root / "kpageflags").write_bytes(array("Q", [0, 0, 0, 0, 0, KPF_ZERO_PAGE, 0]).tobytes())
    reading = Reading(proc)
    assert reading.page_index.pages == 3
    assert reading.sources[0].left_out == {"never written (zero page)": 2}


def test_pages_that_change(proc: FakeProc) -> None:
    """What changes or comes between the looks is volatile; what goes does not count; the rest is settled."""
    proc.map(AT, [OWN, OWN, OWN, 0, OWN], pages(1, 2, 1, 0, 1))

    def change(label: str, done: int, total: int | None) -> None:
        if label.startswith("waiting"):
            proc.put("mem", AT + PAGE_SIZE, page(1))  # changes
            proc.put("pagemap", AT // PAGE_SIZE * 8 + 16, array("Q", [0, OWN]).tobytes())  # one goes, one comes

    reading = Reading(proc, progress=change, interval_s=0.01)

    assert (reading.page_index.pages, reading.page_index.volatile, reading.page_index.zero_pages) == (4, 2, 0)
    assert reading.page_index.multiplicities() == {2: 1}
    assert reading.sources[0].left_out == {"unmapped meanwhile": 1}
    assert reading.sources[0].pages == 4


def test_gone_at_the_first_look(proc: FakeProc) -> None:
    """A process that dies half-way is counted as far as it was seen."""
    proc.map(AT, [OWN] * 2 * BATCH_PAGES, pages(*[1] * 2 * BATCH_PAGES))

    def kill(label: str, done: int, total: int | None) -> None:
        os.truncate(proc.process / "mem", 0)

    reading = Reading(proc, progress=kill)

    assert reading.page_index.pages == BATCH_PAGES
    assert [f"pid 7: exited at the first look; the {BATCH_PAGES} pages seen by then count as settled"] == (
        reading.problems
    )


def test_gone_at_the_second_look(proc: FakeProc) -> None:
    """One that dies at the second look counts whole, but for the pages that were seen to change."""
    proc.map(AT, [OWN] * 2 * BATCH_PAGES, pages(*[1] * 2 * BATCH_PAGES))

    def kill(label: str, done: int, total: int | None) -> None:
        if label.startswith("waiting"):
            proc.put("mem", AT, page(2))
        if label == "pid 7, second look":
            os.truncate(proc.process / "mem", 0)

    reading = Reading(proc, progress=kill, interval_s=0.01)

    assert (reading.page_index.pages, reading.page_index.volatile) == (2 * BATCH_PAGES, 1)
    assert [f"pid 7: exited at the second look, after {BATCH_PAGES} pages; the others count as settled"] == (
        reading.problems
    )


def test_nobody_there(proc: FakeProc) -> None:
    """A process without memory, or one that never was, is one line."""
    assert Reading(proc).problems == ["pid 7: has no memory: it is a kernel thread, or has just exited"]

    (proc.process / "pagemap").unlink()
    assert [f"pid 7: {proc.root}/7/pagemap: nothing to read: a kernel thread, or it has exited"] == Reading(
        proc
    ).problems
    assert read(pids=[4_194_304]).problems == ("pid 4194304: there is no such process",)


@pytest.mark.parametrize(("found", "problems", "warnings"), [([], 2, 0), ([6, 7], 0, 1)])
def test_one_that_was_found_may_exit(proc: FakeProc, found: list[int], problems: int, warnings: int) -> None:
    """Processes that nobody has named are passed over if they are gone, or are a warning if they were seen once."""
    proc.map(AT, [OWN] * 2, pages(1, 2))

    def exits(label: str, done: int, total: int | None) -> None:
        if label.startswith("waiting"):
            os.truncate(proc.process / "maps", 0)

    reader = ProcessReader(
        PageIndex(1), Spread("actual", 1), [], [], exits, interval_s=0.01,
        node_of_frame=NodeOfFrame(sys=proc.root / "none"), open_memory=lambda pid: ProcessMemory(pid, proc=proc.root),
    )  # fmt: skip
    reader.read([6, 7], 0, found)

    assert (len(reader.problems), len(reader.warnings)) == (problems, warnings)


def test_maps_that_nobody_understands(proc: FakeProc) -> None:
    """A line of maps that is none is quoted, with its number."""
    proc.map(AT, [OWN], page(1), name="a b")
    with (proc.process / "maps").open("a") as file:
        file.write("nonsense\n")

    assert [f"pid 7: {proc.root}/7/maps:2: not understood: 'nonsense'"] == Reading(proc).problems


def test_numa_maps(proc: FakeProc) -> None:
    """Areas without anonymous pages are not looked through; huge ones are left out; a page is where most are."""
    proc.map(AT, [OWN, OWN], pages(1, 1))
    proc.map(AT * 2, [OWN, OWN], pages(1, 2))
    proc.map(AT * 3, [OWN], page(1))
    (proc.process / "numa_maps").write_text(
        f"{AT:x} default anon=2 dirty=2 N0=1 N1=2 kernelpagesize_kB=4\n"
        f"{2 * AT:x} default file=/bin/true mapped=2 N0=2 kernelpagesize_kB=4\n"
        f"{3 * AT:x} default huge anon=1 dirty=1 N0=1 kernelpagesize_kB=2048\n"
    )
    (proc.root / "sys/devices/system/node/node1").mkdir(parents=True)
    reading = Reading(proc, nodes=2, node_of_frame=NodeOfFrame(sys=proc.root / "sys"))

    assert reading.page_index.pages_by_node() == [0, 2]
    assert reading.sources[0].left_out == {"huge (hugetlb)": 1}


def test_frames_and_nodes(tmp_path: Path) -> None:
    """The node of a frame is that of its block of memory; unknown frames are on no node."""
    system = tmp_path / "devices/system"
    for nid, block in ((0, 0), (0, 2), (3, 1)):
        (system / f"node/node{nid}/memory{block}").mkdir(parents=True)
    (system / "memory").mkdir()
    (system / "memory/block_size_bytes").write_text("8000000\n")
    frames = NodeOfFrame(sys=tmp_path)

    assert frames.nodes == 4
    assert [frames.of(pfn) for pfn in (0, 0x7FFF, 0x8000, 0x10000, 0x18000)] == [None, 0, 3, 0, None]


def test_too_few_nodes(proc: FakeProc) -> None:
    """A page on a node that --nodes leaves out is a usage error that names the node."""
    proc.map(AT, [OWN], page(1))
    (proc.process / "numa_maps").write_text(f"{AT:x} default anon=1 N3=1 kernelpagesize_kB=4\n")
    (proc.root / "sys/devices/system/node/node3").mkdir(parents=True)
    reading = Reading(proc, nodes=2, node_of_frame=NodeOfFrame(sys=proc.root / "sys"))

    assert reading.problems == ["pid 7: there are pages on node 3: --nodes must be at least 4"]


# -- real processes -------------------------------------------------------------------------------------------------

CHILD = """
import mmap, sys
area = mmap.mmap(-1, 600 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(500):
    area[page * 4096 : page * 4096 + 8] = (1 + page // 5).to_bytes(8, "big")
for page in range(500, 550):
    area[page * 4096]
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A process with 100 contents five times each, and 50 pages that it only read."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_a_real_process(child: subprocess.Popen[str]) -> None:
    """The pages that the child wrote are found, each content five times; those it only read are not.

    None of the others becomes present by being looked at.
    """
    memory = Path(f"/proc/{child.pid}/statm")  # its second word is what is present
    before = int(memory.read_text().split()[1])
    answer = read(pids=[child.pid])
    if answer.problems:
        pytest.skip(answer.problems[0])
    fives = [content for content in answer.shared if content.pages == 5]

    assert answer.pages >= 500
    assert answer.across[1].pages_sharing >= 400
    assert len(fives) >= 5
    assert answer.sources[0].left_out["never written (zero page)"] >= 50
    assert answer.across[1].pages_volatile < 50
    assert int(memory.read_text().split()[1]) < before + 50


def test_a_real_process_that_is_killed(child: subprocess.Popen[str]) -> None:
    """Killed under the reader's hands, it is counted as far as it was seen, and that is said."""

    def kill(label: str, done: int, total: int | None) -> None:
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            child.wait()

    answer = read(pids=[child.pid], progress=kill)

    (problem,) = answer.problems
    if "exited" not in problem:
        pytest.skip(problem)
    assert 0 < answer.pages < 500
