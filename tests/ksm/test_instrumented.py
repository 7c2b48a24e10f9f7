"""Fields of mm/ksm.c that declare themselves: who is told of which access, and what the race detectors make of it."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import READ, WRITE, Actor
from ksmactors.interleave.observer import Observer
from ksmactors.ksm.instrumented import FIELDS, KERNEL_FIELDS
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Vma
from ksmactors.mm.frame import Frame
from ksmactors.watch.marked_accesses import UNLOCKED
from tests.helpers.directed import Play, Stage, perform


class Heard(Observer):
    """Which function has used which field, and how."""

    def __init__(self) -> None:
        self.uses: list[tuple[str, int, str, object]] = []

    def field(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        self.uses.append((actor.place, kind, type(obj).__name__, field))


class Recounts(Ksm):
    """Adjusts a counter of ksmd's, or an rmap_item, whenever a pagevec is emptied, without ksm_thread_mutex."""

    async def lru_add_drain_all(self) -> None:
        await super().lru_add_drain_all()
        self.ksm_pages_unshared += 0


class ForgetsChecksums(Ksm):
    async def lru_add_drain_all(self) -> None:
        await super().lru_add_drain_all()
        first = self.ksm_mm_head.next.rmap_list
        if first is not None and not first.flag:
            first.oldchecksum = 0


async def drained_beside_a_scan(s: Stage) -> None:
    """Somebody empties the pagevecs while ksmd scans: nothing orders the two."""
    await s.process("A", 1, 2)
    await s.scan()
    drain = s.start("drain", s.kernel.lru_add_drain_all())
    await s.scan()
    await s.finish(drain)
    await s.scan()


@pytest.mark.parametrize("watcher", ["happens_before", "lockset"])
@pytest.mark.parametrize("layer", [Recounts, ForgetsChecksums])
def test_who_comes_without_the_mutex_is_convicted(layer: type[Ksm], watcher: str) -> None:
    """What belongs to ksm_thread_mutex is used by somebody who does not hold it."""
    with pytest.raises(Finding) as found:
        perform(drained_beside_a_scan, layer=layer, watchers=(watcher,))
    assert found.value.watcher == watcher
    assert "lru_add_drain_all" in found.value.message


@pytest.mark.parametrize("watcher", ["happens_before", "lockset"])
@pytest.mark.parametrize("locked", [True, False])
def test_the_index_of_a_page_belongs_to_the_page_lock(locked: bool, watcher: str) -> None:
    """Who looks where a page is mapped has its lock, and whoever maps it elsewhere must have it, too."""

    async def play(s: Stage) -> None:
        proc = await s.process("A", 1)
        page, vma = s.frame(proc, 0), proc.mm.vmas[proc.start]
        looks = s.start("looks", look(s, page, vma))
        maps = s.start("maps", map_elsewhere(s, page, vma))
        await s.finish(looks)
        await s.finish(maps)

    async def look(s: Stage, page: Frame, vma: Vma) -> None:
        await page.lock()
        assert s.kernel.page_address_in_vma(page, vma) == vma.start
        await page.unlock()

    async def map_elsewhere(s: Stage, page: Frame, vma: Vma) -> None:
        if locked:
            await page.lock()
        else:
            await s.conductor.point(READ, None)
        s.kernel._page_set_anon_rmap(page, vma, vma.start, exclusive=True)
        if locked:
            await page.unlock()

    with nullcontext() if locked else pytest.raises(Finding, match="index of"):
        perform(play, watchers=(watcher,))


def test_the_right_kernel_is_acquitted() -> None:
    """The same program, and both detectors."""
    perform(drained_beside_a_scan, watchers=("happens_before", "lockset"))


def test_reading_sysfs_is_no_race() -> None:
    """sysfs takes no lock: that is marked, with a reason."""

    async def play(s: Stage) -> None:
        await s.process("A", 1, 2)
        await s.scan()
        reader = s.start("reader", read(s))
        await s.scan()
        await s.finish(reader)
        await s.scan()

    async def read(s: Stage) -> str:
        await s.conductor.point(READ, None)
        return s.kernel.sysfs_show("pages_volatile")

    perform(play, watchers=("happens_before", "lockset"))
    assert all(hasattr(Ksm, function) and reason for (function, _), reason in UNLOCKED.items())


def heard(play: Play) -> Heard:
    """What is heard of a program that begins with a process and a scan."""
    ears = Heard()

    async def whole(s: Stage) -> None:
        await s.process("A", 1, 2)
        await s.scan()
        s.kernel.declare_fields()
        s.conductor.observe(ears)
        await play(s)

    perform(whole, watchers=())
    return ears


def test_the_kernel_is_told_of_and_nobody_else() -> None:
    """An access is told by the kernel function that made it, be it through a property or a method of the structure;
    what a test or a watcher looks at is not."""

    async def play(s: Stage) -> None:
        assert s.kernel.ksm_scan.seqnr >= 0
        assert s.kernel.ksm_pages_unshared >= 0
        await s.process("B", 3)
        await s.scan(2)

    uses = heard(play).uses

    assert ("get_next_rmap_item", WRITE, "MmSlot", "rmap_list") in uses
    assert ("unstable_tree_search_insert", WRITE, "RmapItem", "head") in uses  # through links_overwrite_head
    assert ("unstable_tree_search_insert", WRITE, "Kernel", "ksm_pages_unshared") in uses
    assert ("cmp_and_merge_page", READ, "RmapItem", "oldchecksum") in uses
    assert not {place for place, *_ in uses} & {"play", "whole", "test_the_kernel_is_told_of_and_nobody_else"}


def test_one_operation_tells_once() -> None:
    """However often a field is read between two operations, one read is told."""

    async def play(s: Stage) -> None:
        await s.batch(1)

    uses = heard(play).uses

    cursor = [use for use in uses if use[2:] == ("KsmScan", "address") and use[1] == READ]
    assert 0 < len(cursor) < 10


def test_nothing_declares_itself_unasked() -> None:
    """Without a detector the structures are plain ones; asking twice is asking once."""

    async def play(s: Stage) -> None:
        plain = type(s.kernel)
        assert all(type(s.kernel.ksm_scan) is not cls.__base__ for cls in FIELDS)
        s.kernel.declare_fields()
        declaring = type(s.kernel)
        s.kernel.declare_fields()
        assert type(s.kernel) is declaring
        assert declaring.__base__ is plain
        for name in KERNEL_FIELDS:
            assert isinstance(vars(declaring)[name], property)

    perform(play, watchers=())
