"""What later kernels show and take: files, ksm_stat, move_pages, madvise, prctl, tracepoints."""

from __future__ import annotations

import pytest

from ksmactors.interleave.actor import Actor
from ksmactors.later.kstrtox import kstrtoint, unsigned
from ksmactors.later.merge_any import MergeAny
from ksmactors.later.tracepoints import Tracepoints
from ksmactors.mm.const import (
    EFAULT,
    EINVAL,
    ENOENT,
    ENOMEM,
    ERANGE,
    MADV_MERGEABLE,
    MADV_PAGEOUT,
    MADV_UNMERGEABLE,
    PAGE_SIZE,
)
from tests.helpers.directed import Proc, Stage, perform


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("y\n", 1), ("Yes", 1), ("true", 1), ("on", 1), ("0", 0), ("no", 0), ("F", 0), ("off", 0), ("OFF", 0),
     ("2", -EINVAL), ("x", -EINVAL), ("o", -EINVAL), ("", -EINVAL)],
)  # fmt: skip
def test_booleans(text: str, value: int) -> None:
    """Only the first character counts, or the first two of on and off."""

    async def play(s: Stage) -> None:
        assert await s.set("use_zero_pages", text) == min(value, 0)
        assert s.kernel.sysfs_show("use_zero_pages") == str(max(value, 0))

    perform(play, kernel="v6.12")


@pytest.mark.parametrize(("text", "value"), [("e", 1), ("Enable", 1), ("d", 0), ("DISABLED", 0), ("x", -EINVAL)])
def test_booleans_of_v6_18(text: str, value: int) -> None:
    """Enable and disable are booleans on v6.18, and are not on v6.12 (live_booleans)."""

    async def play(s: Stage) -> None:
        taken = min(value, 0) if s.kernel.kernel_name == "v6.18" else -EINVAL
        assert await s.set("smart_scan", text) == taken

    perform(play, kernel="v6.18")
    perform(play, kernel="v6.12")


def test_numbers() -> None:
    """One sign, one newline; signed ones tell out of range from nonsense, unsigned ones do not."""
    assert kstrtoint("-5\n") == (0, -5)
    assert kstrtoint("2147483648") == (-ERANGE, 0)
    assert kstrtoint("1 ") == (-EINVAL, 0)
    assert [unsigned(text, 9) for text in ("9", "+9\n", "10", "-1", "x")] == [9, 9, -EINVAL, -EINVAL, -EINVAL]


@pytest.mark.parametrize(("kernel", "child"), [("v6.1", (2, 2)), ("v6.12", (0, 0)), ("v7.3", (0, 0))])
def test_what_a_forked_child_starts_with(kernel: str, child: tuple[int, int]) -> None:
    """v6.1 copies its parent's numbers, later kernels start with none."""

    async def play(s: Stage) -> None:
        parent = await s.process("A", 7, 7)
        await s.scan(3)
        forked = await s.fork(parent, "B")
        stat = s.kernel.ksm_stat(forked.mm)
        assert (stat["merging_pages"], stat["rmap_items"]) == child
        stat = s.kernel.ksm_stat(parent.mm)
        assert (stat["merging_pages"], stat["rmap_items"]) == (2, 2)
        await s.write(parent, 0, 9)
        await s.scan(1)
        stat = s.kernel.ksm_stat(parent.mm)
        assert (stat["merging_pages"], stat["rmap_items"]) == (1, 2)

    perform(play, kernel=kernel)


def test_general_profit_can_be_negative() -> None:
    """What is shared, in bytes, less 64 bytes for each rmap_item."""

    async def play(s: Stage) -> None:
        await s.process("A", 7, 8)
        await s.scan(1)
        assert s.kernel.sysfs_show("general_profit") == str(-2 * 64)
        await s.process("B", 7)
        await s.scan(3)
        assert s.kernel.sysfs_show("general_profit") == str(PAGE_SIZE - 3 * 64)

    perform(play, kernel="v6.12")


@pytest.mark.parametrize(
    ("kernel", "hole", "zero_page"),
    [("v3.9", -ENOENT, -ENOENT), ("v6.1", -EFAULT, -EFAULT), ("v6.12", -ENOENT, -EFAULT)],
)
def test_what_move_pages_says_of_no_page(kernel: str, hole: int, zero_page: int) -> None:
    """An address where nothing is, and one where the zero page is."""

    async def play(s: Stage) -> None:
        mm = s.kernel.mm_alloc("A")
        proc = Proc(mm, await s.kernel.mmap(mm, 2, 0))
        assert await s.migrate(proc, 0, 1) == hole
        await s.read(proc, 1)
        assert await s.migrate(proc, 1, 1) == zero_page

    perform(play, kernel=kernel)


def test_pageout_takes_what_nobody_else_maps() -> None:
    """Ordinary and KSM pages mapped once go to swap, shared ones stay; holes are -ENOMEM, nonsense is -EINVAL."""

    async def play(s: Stage) -> None:
        one = await s.process("A", 7, 7, 8, 5)
        two = await s.process("B", 8)
        await s.scan(3)
        await s.write(two, 0, 9)  # A's third page is a KSM page mapped once now
        kernel = s.kernel
        assert await kernel.madvise(one.mm, one.start, 4 * PAGE_SIZE, MADV_PAGEOUT) == 0
        assert [kernel.page_at(one.mm, one.at(index)) is None for index in range(4)] == [False, False, True, True]
        assert await kernel.madvise(one.mm, one.start, 9 * PAGE_SIZE, MADV_PAGEOUT) == -ENOMEM
        assert await kernel.madvise(one.mm, one.start + 1, PAGE_SIZE, MADV_PAGEOUT) == -EINVAL
        assert [await s.read(one, index) for index in (2, 3)] == [kernel.contents.token(8), kernel.contents.token(5)]

    perform(play, kernel="v6.12", watchers=("shadow",))


def test_before_v5_4_there_was_no_pageout() -> None:
    """v3.9 does not know the advice."""

    async def play(s: Stage) -> None:
        proc = await s.process("A", 7)
        assert await s.kernel.madvise(proc.mm, proc.start, PAGE_SIZE, MADV_PAGEOUT) == -EINVAL

    perform(play, kernel="v3.9")


def merge_any(s: Stage) -> MergeAny:
    assert isinstance(s.kernel, MergeAny)
    return s.kernel


def test_a_process_has_all_its_memory_merged() -> None:
    """What is mapped, what is mapped later, and what a child maps is mergeable; taking it back unmerges everything."""

    async def play(s: Stage) -> None:
        kernel = merge_any(s)
        one = await s.process("A", 7, mergeable=False)
        assert await kernel.prctl_set_memory_merge(one.mm, True) == 0
        later = Proc(one.mm, await kernel.mmap(one.mm, 1, 0))
        await s.write(later, 0, 7)
        two = await s.fork(one, "B")
        child = Proc(two.mm, await kernel.mmap(two.mm, 1, 0))
        await s.write(child, 0, 7)
        await s.scan(4)
        assert len({s.frame(proc, 0).pfn for proc in (one, later, two, child)}) == 1
        assert kernel.ksm_stat(two.mm)["merge_any"] == "yes"
        assert kernel.ksm_stat(two.mm)["mergeable"] == "yes"
        assert await kernel.prctl_set_memory_merge(one.mm, False) == 0
        assert not s.frame(one, 0).is_ksm
        assert not s.frame(later, 0).is_ksm
        assert s.frame(child, 0).is_ksm
        assert kernel.ksm_stat(one.mm)["merge_any"] == "no"
        assert kernel.ksm_stat(one.mm)["mergeable"] == "no"
        await s.quiesce()
        await s.farewell()

    perform(play, kernel="v6.18")


def test_nothing_changes_if_it_is_so_already() -> None:
    """PR_SET_MEMORY_MERGE twice, and taking back what was never set, which leaves advice alone."""

    async def play(s: Stage) -> None:
        kernel = merge_any(s)
        proc = await s.process("A", 7)
        assert await kernel.prctl_set_memory_merge(proc.mm, False) == 0
        assert proc.mm.vmas.peekitem(0)[1].mergeable
        assert [await kernel.prctl_set_memory_merge(proc.mm, True) for _ in range(2)] == [0, 0]
        assert len(kernel.mm_slots_hash) == 1

    perform(play, kernel="v6.12")


def test_tracepoints_tell_what_ksm_does() -> None:
    """Registration, scans, merges with their error, the removal of a node and of its items but the last."""

    async def play(s: Stage) -> None:
        kernel = s.kernel
        assert isinstance(kernel, Tracepoints)
        await s.set("use_zero_pages", 1)
        await s.set("smart_scan", 0)
        passed: list[tuple[str, int | None]] = []
        kernel.register_trace(lambda name, error: passed.append((name, error)))
        proc = await s.process("A", 7, 7, 0)
        await s.scan(2)
        assert passed == [
            ("ksm_enter", None), ("ksm_start_scan", None), ("ksm_stop_scan", None), ("ksm_start_scan", None),
            ("ksm_merge_with_ksm_page", 0), ("ksm_merge_with_ksm_page", 0), ("ksm_merge_one_page", 0),
            ("ksm_stop_scan", None),
        ]  # fmt: skip
        passed.clear()
        await kernel.madvise(proc.mm, proc.start, 3 * PAGE_SIZE, MADV_UNMERGEABLE)
        await s.set("run", 2)
        assert passed == [("ksm_remove_rmap_item", None), ("ksm_remove_ksm_page", None)]
        await kernel.madvise(proc.mm, proc.start, 3 * PAGE_SIZE, MADV_MERGEABLE)
        await s.farewell()
        assert passed[-1] == ("ksm_exit", None)

    perform(play, kernel="v6.12")


@pytest.mark.parametrize(("with_", "woken"), [((), False), (("wake-on-sleep",), True)])
def test_a_new_sleep_millisecs_wakes_ksmd(with_: tuple[str, ...], woken: bool) -> None:
    """v3.9's ksmd sleeps on for an hour; later ones begin the next batch. The same value again wakes nobody."""

    async def play(s: Stage) -> None:
        kernel = s.kernel
        await s.process("A", 7)
        await s.set("sleep_millisecs", 3_600_000)
        await s.set("run", 1)
        ksmd: Actor = s.conductor.spawn("ksmd", kernel.ksm_scan_thread(), daemon=True)
        await s.conductor.sleep(10**6)
        assert kernel.ksmd_actor is ksmd
        batches = kernel.pages_scanned
        await s.set("sleep_millisecs", 3_600_000)
        await s.conductor.sleep(10**6)
        assert kernel.pages_scanned == batches
        await s.set("sleep_millisecs", 3_600_001)
        await s.conductor.sleep(10**6)
        assert (kernel.pages_scanned > batches) == woken

    perform(play, kernel="v3.9", with_=with_, watchers=())
