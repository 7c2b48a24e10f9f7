"""/sys/kernel/mm/ksm: parsing, errnos, defaults, side effects."""

from __future__ import annotations

import pytest

from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, WRITE
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import MmSlot
from ksmactors.ksm.sysfs import kstrtoul
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import EACCES, EBUSY, EINVAL, ENOENT, ENOMEM, ERANGE
from tests.helpers.directed import Place, Stage, about_to, perform

UINT_MAX, ULONG_MAX = 2**32 - 1, 2**64 - 1

DEFAULTS = {
    "sleep_millisecs": "20", "pages_to_scan": "100", "run": "0", "pages_shared": "0", "pages_sharing": "0",
    "pages_unshared": "0", "pages_volatile": "0", "full_scans": "0", "merge_across_nodes": "1",
}  # fmt: skip

WRITABLE = ("sleep_millisecs", "pages_to_scan", "run", "merge_across_nodes")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("7\n", 7), ("+7", 7), ("+7\n", 7), ("007", 7), (str(ULONG_MAX), ULONG_MAX),
        (str(ULONG_MAX + 1), -ERANGE), ("9" * 40, -ERANGE),
        ("", -EINVAL), ("\n", -EINVAL), (" 7", -EINVAL), ("7 ", -EINVAL), ("7\n\n", -EINVAL), ("-1", -EINVAL),
        ("++7", -EINVAL), ("+", -EINVAL), ("0x7", -EINVAL), ("seven", -EINVAL), ("7.0", -EINVAL), ("\u0667", -EINVAL),
    ],
)  # fmt: skip
def test_numbers(text: str, value: int) -> None:
    """Base 10, one plus sign and one newline are allowed; anything else is -EINVAL, too large is -ERANGE."""
    assert kstrtoul(text) == value


def test_defaults() -> None:
    """The files of v3.9 and what they show at boot."""

    async def play(s: Stage) -> None:
        assert {name: s.kernel.sysfs_show(name) for name in s.kernel.sysfs_files()} == DEFAULTS
        assert tuple(name for name, writable in s.kernel.sysfs_files().items() if writable) == tuple(
            name for name in DEFAULTS if name in WRITABLE
        )

    perform(play)


@pytest.mark.parametrize(
    ("knob", "text", "result", "shown"),
    [
        ("sleep_millisecs", "0", 0, "0"),
        ("sleep_millisecs", str(UINT_MAX), 0, str(UINT_MAX)),
        ("sleep_millisecs", str(UINT_MAX + 1), -EINVAL, "20"),
        ("sleep_millisecs", "x", -EINVAL, "20"),
        ("pages_to_scan", "0", 0, "0"),
        ("pages_to_scan", str(UINT_MAX), 0, str(UINT_MAX)),
        ("pages_to_scan", str(UINT_MAX + 1), -EINVAL, "100"),
        ("pages_to_scan", str(ULONG_MAX + 1), -EINVAL, "100"),
        ("run", "1\n", 0, "1"),
        ("run", "2", 0, "2"),
        ("run", "3", -EINVAL, "0"),
        ("run", "-1", -EINVAL, "0"),
        ("run", str(ULONG_MAX + 1), -EINVAL, "0"),
        ("merge_across_nodes", "0", 0, "0"),
        ("merge_across_nodes", "2", -EINVAL, "1"),
        ("merge_across_nodes", "x", -EINVAL, "1"),
        ("merge_across_nodes", str(ULONG_MAX + 1), -ERANGE, "1"),
        ("merge_across_nodes", str(ULONG_MAX), -EINVAL, "1"),
    ],
)
def test_stores(knob: str, text: str, result: int, shown: str) -> None:
    """What each knob says to a value, and shows afterwards."""

    async def play(s: Stage) -> None:
        assert await s.kernel.sysfs_store(knob, text) == result
        assert s.kernel.sysfs_show(knob) == shown

    perform(play)


def test_files_that_cannot_be_written() -> None:
    """The counters are read-only; a file that does not exist is -ENOENT, and cannot be read."""

    async def play(s: Stage) -> None:
        for name in DEFAULTS.keys() - set(WRITABLE):
            assert await s.set(name, 1) == -EACCES
        assert await s.set("max_page_sharing", 1) == -ENOENT
        with pytest.raises(KeyError):
            s.kernel.sysfs_show("max_page_sharing")

    perform(play)


def test_volatile_is_never_shown_negative() -> None:
    """A reader without the mutex may come at a bad moment; what would be negative is shown as 0."""

    async def play(s: Stage) -> None:
        s.kernel.ksm_pages_unshared = 3
        assert s.kernel.sysfs_show("pages_volatile") == "0"

    perform(play)


def test_unmerging() -> None:
    """run=2 takes all merged pages apart and sets full_scans to 0; processes stay registered, in their order."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1, 2)
        b = await s.process("B", 1)
        await s.scan(3)
        await s.set("run", 1)
        assert (s.counters, s.kernel.sysfs_show("full_scans")) == ((1, 2, 1, 0), "3")
        assert await s.set("run", 2) == 0
        assert (s.counters, s.kernel.sysfs_show("full_scans")) == ((0, 0, 0, 0), "0")
        assert [s.frame(a, i).is_ksm for i in range(3)] == [False] * 3
        head = s.kernel.ksm_mm_head
        assert (head.next.mm, head.prev.mm, s.kernel.ksm_scan.mm_slot) == (a.mm, b.mm, head)
        await s.set("run", 1)
        await s.scan(3)
        assert s.counters == (1, 2, 1, 0)

    perform(play)


def test_writing_run_2_again() -> None:
    """A value that run has already is written without any effect: 2 does not unmerge a second time."""

    async def play(s: Stage) -> None:
        await s.set("run", 2)
        a = await s.process("A", 1, 1)
        await s.scan(2)
        assert await s.set("run", 2) == 0
        assert (s.frame(a, 0).is_ksm, s.counters, s.kernel.sysfs_show("full_scans")) == (True, (1, 1, 0, 0), "2")
        await s.set("run", 0)
        assert s.frame(a, 0).is_ksm, "0 keeps what is merged"
        assert await s.set("run", 2) == 0
        assert not s.frame(a, 0).is_ksm

    perform(play)


class ReadsRunTooEarly(Ksm):
    """__ksm_enter asks for run before it locks the list."""

    async def ksm_enter(self, mm: AddressSpace) -> int:
        run = await self.read_ksm_run()
        self.read_ksm_run = lambda: self._said(run)  # type: ignore[method-assign]
        failed = await super().ksm_enter(mm)
        del self.read_ksm_run
        return failed

    @staticmethod
    async def _said(run: int) -> int:
        return run


async def forked_into_unmerging(s: Stage, place: Place) -> bool:
    """A process forks, and run=2 begins when its child is on the way into the list: does a merged page survive?"""
    a = await s.process("A", 1, 1)
    await s.scan(2)
    await s.set("run", 1)
    forking = s.start("fork", s.fork(a, "B"))
    await s.until(forking, place)
    writing = s.start("admin", s.set("run", 2))
    await s.blocks(writing)  # by the list lock, or by A's mmap_sem with the cursor at A
    b = await s.finish(forking)
    assert await s.finish(writing) == 0
    return any(s.frame(proc, index).is_ksm for proc in (a, b) for index in range(2))


ON_THE_WAY = {
    "before the lock": about_to(ACQUIRE, field="", inside="ksm_enter"),
    "before run is read": about_to(READ, field="ksm_run", inside="ksm_enter"),
    "before it is in": about_to(WRITE, MmSlot, inside="insert_slot"),
    "before the lock is released": about_to(RELEASE, inside="ksm_enter"),
    "before the copy": about_to(inside="copy_page_range"),
}


@pytest.mark.parametrize("place", ON_THE_WAY)
def test_a_fork_does_not_slip_past_unmerging(place: str) -> None:
    """Wherever a fork is when run=2 begins, parent and child are unmerged: __ksm_enter reads run under the list lock,
    under which unmerging begins at the first slot (v3.9, no layer)."""

    async def play(s: Stage) -> None:
        assert not await forked_into_unmerging(s, ON_THE_WAY[place])

    perform(play, kernel="v3.9")


def test_a_fork_would_slip_past_unmerging() -> None:
    """A kernel that reads run before the lock leaves the child's pages merged."""

    async def play(s: Stage) -> None:
        assert await forked_into_unmerging(s, ON_THE_WAY["before the lock"])

    perform(play, kernel="v3.9", layer=ReadsRunTooEarly, watchers=("lifetime", "trees", "naming", "counters", "rmap"))


def test_unmerging_without_memory() -> None:
    """If run=2 runs out of memory it says so, run is 0, full_scans stays, and what was not reached stays merged."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        b = await s.process("B", 2, 2)
        await s.scan(2)
        await s.process("H", 3, mergeable=False)
        assert await s.set("run", 2) == -ENOMEM
        assert (s.kernel.sysfs_show("run"), s.kernel.sysfs_show("full_scans")) == ("0", "2")
        assert [s.frame(proc, i).is_ksm for proc in (a, b) for i in range(2)] == [False, False, False, True]
        assert s.counters == (1, 1, 0, 0)

    perform(play, nodes=1, frames_per_node=6)


@pytest.mark.parametrize("value", [0, 1])
def test_knob_busy(value: int) -> None:
    """merge_across_nodes changes only while nothing is shared; writing what it is succeeds always."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", value)
        a = await s.process("A", 1, 1)
        await s.scan(2)
        root = s.kernel.root_stable_tree[0]
        assert await s.set("merge_across_nodes", value) == 0
        assert await s.set("merge_across_nodes", 1 - value) == -EBUSY
        assert [node.kpfn for node in root] == [s.frame(a, 0).pfn], "nothing is torn down"
        await s.set("run", 2)
        assert await s.set("merge_across_nodes", 1 - value) == 0
        assert s.kernel.ksm_nr_node_ids == (2 if value else 1)

    perform(play)


def test_knob_removes_what_is_stale() -> None:
    """Nodes whose pages are gone do not keep the knob busy: they are removed first."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        await s.process("A", 1, 1, nid=1)
        await s.scan(2)
        leaving = s.start("exit", s.kernel.mmput(s.kernel.address_spaces[0]))
        await s.until(leaving, about_to(inside="exit_mmap"))
        await s.scan(1)  # the items go, the page is still mapped
        assert (s.counters, len(list(s.kernel.root_stable_tree[1]))) == ((0, 0, 0, 0), 1)
        assert await s.set("merge_across_nodes", 1) == -EBUSY
        await s.finish(leaving)
        assert await s.set("merge_across_nodes", 1) == 0
        assert s.kernel.root_stable_tree[1].root is None

    perform(play)


def test_what_a_failed_removal_leaves() -> None:
    """A tree whose root is still mapped is left alone from there on; the other trees and migrate_nodes are emptied."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        procs = [await s.process(name, token, token, nid=nid) for name, token, nid in (("A", 1, 0), ("B", 2, 1))]
        c = await s.process("C", 3, 3)
        await s.scan(2)
        exiled = s.frame(c, 0).stable_node
        await s.kernel.stable_tree_erase(exiled)
        await s.kernel.stable_node_to_migrate_nodes(exiled)
        leaving = [s.start(f"exit/{place}", s.kernel.mmput(proc.mm)) for place, proc in enumerate((*procs, c))]
        for puppet in leaving:
            await s.until(puppet, about_to(inside="exit_mmap"))
        await s.scan(2)
        assert s.kernel.ksm_rmap_items == 0
        for puppet in leaving[1:]:
            await s.finish(puppet)
        kernel = s.kernel
        left = [[node.kpfn for node in root] for root in kernel.root_stable_tree]
        assert ([len(nodes) for nodes in left], len(kernel.migrate_nodes)) == ([1, 1], 1)
        assert await s.set("merge_across_nodes", 1) == -EBUSY
        assert [[node.kpfn for node in root] for root in kernel.root_stable_tree] == [left[0], []]
        assert (kernel.migrate_nodes, kernel.ksm_merge_across_nodes) == ([], 0)
        await s.finish(leaving[0])
        assert await s.set("merge_across_nodes", 1) == 0

    perform(play)


def test_run_1_wakes_ksmd() -> None:
    """ksmd sleeps while run is not 1 or nobody is registered; else for sleep_millisecs from one batch to the next."""

    async def play(s: Stage) -> None:
        ksmd = s.start("ksmd", s.kernel.ksm_scan_thread())
        await s.blocks(ksmd)
        assert ksmd.actor.waiting_on is s.kernel.ksm_thread_wait
        await s.set("run", 1)
        await s.blocks(ksmd)
        assert ksmd.actor.waiting_on is s.kernel.ksm_thread_wait, "nobody is registered"
        await s.process("A", 1)
        await s.set("sleep_millisecs", 7)
        await s.blocks(ksmd)
        assert s.kernel.pages_scanned == 1
        before = s.conductor.now
        await s.conductor.sleep(1)
        await s.conductor.sleep(8_000_000)
        await s.go(ksmd)
        assert s.kernel.ksm_scan.seqnr >= 1
        assert s.conductor.now >= before + 7_000_000
        await s.set("run", 0)
        await s.conductor.sleep(20_000_000)
        await s.blocks(ksmd)
        assert ksmd.actor.waiting_on is s.kernel.ksm_thread_wait
        raise Done

    with pytest.raises(Done):
        perform(play)


class Done(Exception):
    """Ends a schedule in which ksmd would go on for ever."""
