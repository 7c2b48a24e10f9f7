"""What later kernels changed about a visit: order, ages, what is forgotten, what is skipped."""

from __future__ import annotations

from typing import Any

import pytest

from ksmactors.interleave.actor import READ
from ksmactors.ksm.structs import MmSlot, RmapItem
from ksmactors.later.advisor import Advisor
from ksmactors.later.overlay import LinearItem
from ksmactors.later.smart_scan import AgedItem, skip_age
from ksmactors.mm.const import EINVAL, PAGE_SIZE
from ksmactors.watch.skipping import HORIZON, ever_visited_together, skips_of
from tests.helpers.directed import Proc, Stage, about_to, perform


def item_of(s: Stage, proc: Proc, index: int) -> RmapItem:
    """The rmap_item of a page."""
    link: MmSlot | RmapItem = s.kernel.mm_slots_hash[proc.mm.number]
    while (item := link.rmap_list) is not None:
        if item.address & -PAGE_SIZE == proc.at(index):
            return item
        link = item
    raise AssertionError("the page has no rmap_item")


@pytest.mark.parametrize(("kernel", "scans"), [("v3.9", 1), ("v6.1", 1), ("v6.12", 2), ("v7.3", 2)])
def test_how_long_a_page_takes_to_join_a_ksm_page(kernel: str, scans: int) -> None:
    """At first sight if the stable tree comes first, at the second visit if the checksum does."""

    async def play(s: Stage) -> None:
        one = await s.process("A", 7, 7)
        await s.scan(3)
        two = await s.process("B", 7)
        await s.scan(scans - 1)
        assert s.frame(two, 0) is not s.frame(one, 0)
        await s.scan(1)
        assert s.frame(two, 0) is s.frame(one, 0)

    perform(play, kernel=kernel)


def test_how_many_visits_are_skipped() -> None:
    """1 up to age 3, 2 up to 5, 4 up to 8, then 8."""
    assert [skip_age(age) for age in range(3, 11)] == [1, 2, 2, 4, 4, 4, 8, 8]


def test_a_unique_page_is_visited_less_and_less() -> None:
    """Scans 1 to 4 visit it, then one, two, four and eight are skipped in between; a skipped item is volatile."""

    async def play(s: Stage) -> None:
        await s.process("A", 7)
        visited = []
        for scan in range(1, 30):
            before = s.kernel.pages_scanned
            await s.scan(1)
            if s.kernel.pages_scanned > before:
                visited.append(scan)
            else:
                assert s.counters == (0, 0, 0, 1)
        assert visited == [1, 2, 3, 4, 6, 9, 14, 23]
        assert s.kernel.sysfs_show("pages_skipped") == str(29 - len(visited))
        await s.quiesce()

    perform(play, kernel="v6.12")


@pytest.mark.parametrize("kernel", ["v6.12", "v7.3"])
@pytest.mark.parametrize(
    "behind",
    [pytest.param(one, marks=[] if one in (12, 13, 22) else [pytest.mark.nightly]) for one in (*range(9, 20), 22)],
)
def test_skipping_is_foreseen(kernel: str, behind: int) -> None:
    """Whether two equal pages ever merge, the second of which comes some scans after the first, is known at once; and
    with the repair of ours they always do."""

    async def play(s: Stage) -> None:
        one = await s.process("A", 7)
        await s.scan(behind)
        two = await s.process("B", 7)
        pages = [(s.frame(proc, 0), [(proc.mm.name, proc.at(0))]) for proc in (one, two)]
        await s.scan(1)
        foreseen = ever_visited_together(s.kernel, pages, skips_of(s.kernel))
        await s.scan(HORIZON + 9)
        merged.append(s.frame(one, 0) is s.frame(two, 0))
        assert merged[-1] == foreseen

    merged: list[bool] = []
    perform(play, kernel=kernel)
    assert merged == [behind not in (13, 15, 16, 22)]
    perform(play, kernel=kernel, with_=("skips-in-step",))
    assert merged[-1]


@pytest.mark.parametrize(("kernel", "age"), [("v6.12", 3), ("v7.3", 0)])
def test_what_merging_does_to_the_age(kernel: str, age: int) -> None:
    """v6.12 keeps it while the page is shared; v7.3 needs its place, so a page whose sharing was broken is young."""

    async def play(s: Stage) -> None:
        proc = await s.process("A", 7, 8)
        await s.scan(3)
        await s.write(proc, 1, 7)
        await s.scan(3)
        assert s.frame(proc, 0) is s.frame(proc, 1)
        await s.write(proc, 0, 9)
        await s.batch(1)
        item = item_of(s, proc, 0)
        assert isinstance(item, AgedItem)
        assert item.age >= age
        assert (item.age < 3) == (age == 0)
        await s.quiesce()

    perform(play, kernel=kernel)


@pytest.mark.parametrize(("kernel", "kept"), [("v6.12", True), ("v7.3", False)])
def test_a_merge_undone_forgets_the_checksum_on_v7_3(kernel: str, kept: bool) -> None:
    """The second half of a merge fails, break_cow undoes the first: only v7.3 takes the page for a new one."""

    async def play(s: Stage) -> None:
        await s.set("smart_scan", 0)
        proc = await s.process("A", 7, 7)
        await s.scan(1)
        partner = s.frame(proc, 0)
        await partner.get()  # it cannot be write-protected
        await s.scan(1)
        await partner.put()
        checksums = [item_of(s, proc, index).oldchecksum for index in range(2)]
        assert checksums[0] == s.kernel.contents.token(7).checksum
        assert (checksums[1] != 0) == kept
        await s.quiesce()

    perform(play, kernel=kernel)


def test_the_index_finds_all_mappings() -> None:
    """Reverse mapping by index finds parent's and child's entries, and the page moves with all of them."""

    async def play(s: Stage) -> None:
        parent = await s.process("A", 1, 7, 7)
        await s.scan(3)
        child = await s.fork(parent, "B")
        item = item_of(s, parent, 1)
        assert isinstance(item, LinearItem)
        assert item.linear_page_index == parent.at(1) // PAGE_SIZE
        assert await s.migrate(parent, 1, 1) == 1
        assert {s.frame(proc, index).pfn for proc in (parent, child) for index in (1, 2)} == {s.frame(child, 1).pfn}
        assert s.frame(child, 1).nid == 1
        await s.quiesce()
        await s.farewell()

    perform(play, kernel="v7.3")


def test_an_empty_range_costs_no_lookups() -> None:
    """A scan of a huge empty mapping takes the page table lock once for each vma, not once a page."""

    def steps(**kwargs: Any) -> int:
        taken = 0

        async def play(s: Stage) -> None:
            nonlocal taken
            proc = await s.process("A", *[0] * 1)
            await s.kernel.mmap(proc.mm, 1000, 0)
            far = await s.kernel.mmap(proc.mm, 1000, 0)
            await s.kernel.madvise(proc.mm, far, 1000 * PAGE_SIZE, 12)
            await s.write(Proc(proc.mm, far), 999, 5)
            before = s.conductor.step
            await s.scan(1)
            taken = s.conductor.step - before

        perform(play, kernel="v3.9", **kwargs)
        return taken

    assert steps() > 2000
    assert steps(with_=("range-walk",)) < 100


def test_the_advisor_aims_at_its_scan_time() -> None:
    """A scan in half the time asked for means half the pages the next time, within the bounds of CPU and number."""

    async def play(s: Stage) -> None:
        kernel = s.kernel
        assert isinstance(kernel, Advisor)
        assert await s.set("pages_to_scan", 77) == 0
        assert await s.set("advisor_mode", "scan-time\n") == 0
        assert kernel.sysfs_show("advisor_mode") == "none [scan-time]"
        assert kernel.ksm_thread_pages_to_scan == 500
        assert await s.set("pages_to_scan", 77) == -EINVAL
        kernel.ksm_thread_pages_to_scan = 1000
        await s.conductor.sleep(100 * 10**9)  # since the scan started, at 0
        kernel.scan_time_advisor()
        # factor 200, change 30 of 100: 1000 * 100 // 200 * 30 // 100 = 150, but at least 10 % of a CPU at 1000 pages
        assert kernel.ksm_thread_pages_to_scan == 10000
        await s.set("advisor_max_pages_to_scan", 600)
        kernel.scan_time_advisor()
        assert kernel.ksm_thread_pages_to_scan == 600
        assert await s.set("advisor_mode", "none") == 0
        assert kernel.ksm_thread_pages_to_scan == 100
        assert await s.set("advisor_target_scan_time", 0) == -EINVAL
        assert await s.set("advisor_mode", "other") == -EINVAL

    perform(play, kernel="v6.12")


def test_the_advisor_acts_at_the_end_of_a_scan() -> None:
    """With scan-time every full scan computes pages_to_scan anew; without, none does."""

    async def play(s: Stage) -> None:
        await s.process("A", 7)
        await s.scan(1)
        assert s.kernel.ksm_thread_pages_to_scan == 100
        await s.set("advisor_mode", "scan-time")
        await s.scan(1)
        assert s.kernel.ksm_thread_pages_to_scan not in (100, 500)

    perform(play, kernel="v6.12")


def test_the_second_look_may_find_the_page_migrated() -> None:
    """The equal page moves between the first and the second look: the search goes on with where it is now."""

    async def play(s: Stage) -> None:
        one = await s.process("A", 7, 7)
        await s.scan(3)
        two = await s.process("B", 7)
        kpage = s.frame(one, 0)
        ksmd = s.start("ksmd", s.scan(1))
        await s.until(ksmd, about_to(READ, kpage, "mapping", inside="stable_tree_search"))
        await s.migrate(one, 0, 1)
        await s.finish(ksmd)
        assert s.frame(two, 0) is s.frame(one, 0)
        assert s.frame(two, 0).nid == 1
        await s.quiesce()

    perform(play, kernel="v6.1")
