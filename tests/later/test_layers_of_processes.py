"""For each layer of `series` on advice, faults, swap and registration, by one directed schedule: the defect that it
repairs, and its absence."""

from __future__ import annotations

from typing import Any

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import ACQUIRE
from ksmactors.mm.const import EHWPOISON, EIO, MADV_MERGEABLE, MADV_UNMERGEABLE, PAGE_SIZE
from ksmactors.mm.devices import IoPin
from tests.helpers.directed import Proc, Stage, about_to, perform
from tests.helpers.swapping import (
    advice_taken_back_while_swapped_out,
    fault_across_run_2,
    moved_while_swapped_out,
    slot_of,
)
from tests.later.test_layers import only, without


async def child_takes_advice_back(s: Stage) -> None:
    """A child takes the advice back before the pages it shares with its parent are merged; then the parent's goes."""
    a = await s.process("A", 1, 1)
    b = await s.fork(a, "B")
    await s.kernel.madvise(b.mm, b.start, 2 * PAGE_SIZE, MADV_UNMERGEABLE)
    await s.scan(3)
    await s.kernel.munmap(a.mm, a.start, 2 * PAGE_SIZE)
    await s.quiesce()


async def parent_gives_advice_late(s: Stage) -> None:
    """The child of a parent without advice takes it; the pages they share become KSM pages through the child."""
    a = await s.process("A", 1, 1, mergeable=False)
    b = await s.fork(a, "B")
    await s.kernel.madvise(b.mm, b.start, 2 * PAGE_SIZE, MADV_MERGEABLE)
    await s.quiesce()


@pytest.mark.parametrize("program", [child_takes_advice_back, parent_gives_advice_late], ids=lambda p: p.__name__)
def test_unshare_on_advice(program: Any) -> None:
    """In v3.9 a mapping whose advice differs shares a page that becomes KSM, and is not found by rmap."""
    with pytest.raises(Finding) as found:
        perform(program, **without("unshare-on-advice"))
    assert found.value.signature == "rmap/lost_mapping@rmap_walk_ksm"
    perform(program)


def test_run_under_pte_lock() -> None:
    """A fault across run=2 maps a KSM page that v3.9 then warns of; the repair alone has it copied."""
    with pytest.raises(Finding) as found:
        perform(fault_across_run_2, kernel="v3.9")
    assert found.value.signature == "warning/kernel_warning@remove_stable_node"
    perform(fault_across_run_2, kernel="v3.9", with_=("run-under-pte-lock",))


def test_copy_unless_mergeable() -> None:
    """A KSM page comes back from the swap cache to an area without advice, where no item is ever made for it."""
    with pytest.raises(Finding) as found:
        perform(advice_taken_back_while_swapped_out, kernel="v3.9")
    assert found.value.signature == "rmap/lost_mapping@rmap_walk_ksm"
    perform(advice_taken_back_while_swapped_out, kernel="v3.9", with_=("copy-unless-mergeable",))


def test_break_swapped() -> None:
    """A moved swap entry brings a KSM page to where reverse mapping does not look; the repair copies it first."""
    with pytest.raises(AssertionError, match="where no rmap_item is"):
        perform(moved_while_swapped_out, kernel="v3.9")
    perform(moved_while_swapped_out, kernel="v3.9", with_=("break-swapped",))


async def unreadable_in_swap(s: Stage) -> Proc:
    """A process of two pages that one slot stands for, which cannot be read."""
    s.start_swap()
    a = await s.process("A", 7, 7)
    await s.scan(3)
    await s.swap_out()
    slot = slot_of(s, a, 0)
    assert slot is slot_of(s, a, 1)
    slot.bad = True
    return a


@pytest.mark.parametrize(("machine", "result"), list(zip(only("swapoff-unread"), (0, -EIO), strict=True)))
def test_swapoff_unread(machine: dict[str, Any], result: int) -> None:
    """swapoff maps a page that it could not read at two addresses, of which reverse mapping finds one; or it fails."""

    async def program(s: Stage) -> None:
        a = await unreadable_in_swap(s)
        assert await s.kernel.swapoff() == result
        if result:
            assert await s.kernel.fault(a.mm, a.at(0), False) == -EIO
            return
        assert s.frame(a, 0) is s.frame(a, 1)
        with pytest.raises(Finding, match="does not lead"):
            await s.quiesce()

    perform(program, watchers=("rmap",), **machine)


@pytest.mark.parametrize("without", [(), ("swapin-error",)])
def test_swapin_error(without: tuple[str, ...]) -> None:
    """swapoff leaves entries that get SIGBUS where a page could not be read, and what is in the frame is not seen."""

    async def program(s: Stage) -> None:
        a = await unreadable_in_swap(s)
        slot = slot_of(s, a, 0)
        assert await s.kernel.swapoff() == 0
        assert not s.kernel.swap_count(slot)
        child = await s.fork(a, "B")
        for proc in (a, child):
            assert (await s.kernel.fault(proc.mm, proc.at(0), False) == -EHWPOISON) is not bool(without)
        await s.quiesce()

    if without:
        with pytest.raises(Finding, match="does not lead"):
            perform(program, kernel="v6.12", without=without)
    else:
        perform(program, kernel="v6.12")


async def registered_as_the_last_one_exits(s: Stage) -> None:
    """B has looked at the list when A, the only one on it, leaves it, and ksmd goes to sleep; then B links its slot."""
    await s.set("run", 1)
    await s.set("sleep_millisecs", 0)
    a = await s.process("A")
    b = await s.process("B", 7, mergeable=False)
    s.start_ksmd()
    registration = s.start("B", s.kernel.madvise(b.mm, b.start, PAGE_SIZE, MADV_MERGEABLE))
    await s.until(registration, about_to(ACQUIRE, s.kernel.ksm_mmlist_lock))
    await s.exit(a)
    while s.kernel.ksmd_actor not in s.kernel.ksm_thread_wait.waiters:
        await s.conductor.sleep(1_000)
    await s.finish(registration)
    asleep = s.kernel.ksmd_actor in s.kernel.ksm_thread_wait.waiters
    await s.end_ksmd()
    assert not asleep, "nobody has woken ksmd"


def test_wake_under_lock() -> None:
    """A registration that has looked at the list too early leaves ksmd asleep; under the lock the look is right."""
    with pytest.raises(AssertionError, match="nobody has woken ksmd"):
        perform(registered_as_the_last_one_exits, **without("wake-under-lock"))
    perform(registered_as_the_last_one_exits)


async def merged_while_pinned(s: Stage) -> None:
    """A pinned page comes back from swap with a read-only, clean entry; ksmd comes to it, and the device stores."""
    await s.process("B", 7, 7)
    await s.scan(2)
    a = await s.process("A", 7)
    s.start_swap()
    pin = await s.kernel.start_io(a.mm, a.start, True)
    assert isinstance(pin, IoPin)
    await s.to_swap_cache(a, 0)
    await s.kernel.wait_on_page_writeback(pin.page)
    await s.read(a, 0)
    await s.scan(2)
    await s.kernel.device_write(pin, s.kernel.contents.token(8))
    await s.kernel.end_io(pin)
    await s.quiesce()


def test_pinned_checked() -> None:
    """v3.9 replaces a pinned page whose entry is read-only and clean, and a store is lost; with the layer it waits."""
    v39, with_layer = only("pinned-checked")
    with pytest.raises(Finding) as found:
        perform(merged_while_pinned, **v39)
    assert found.value.signature == "shadow/lost_write@device_write"
    perform(merged_while_pinned, **with_layer)
