"""lock_order: circles of lock classes, within a schedule and over a campaign, and the rules of spec 2.2."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.errors import Finding
from ksmactors.interleave.locks import Mutex, SpinLock
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.frame import Frame
from ksmactors.run.subject import make_subject
from ksmactors.watch.lock_graph import Edge, LockGraph
from ksmactors.watch.lock_order import lock_class
from ksmactors.workload import Host, Workload
from tests.helpers.directed import Play, Stage, perform


def watched(play: Play, *, layer: type[Ksm] | None = None) -> Stage:
    return perform(play, layer=layer, watchers=["lock_order"])


def reported(play: Play, *, layer: type[Ksm] | None = None) -> Finding:
    with pytest.raises(Finding) as found:
        watched(play, layer=layer)
    return found.value


async def nest(locks: Sequence[Mutex | SpinLock]) -> None:
    for lock in locks:
        await lock.lock()
    for lock in reversed(locks):
        await lock.unlock()


def test_a_circle_that_catches_nobody() -> None:
    """Two locks that are taken in both orders, one after the other, are reported; both places are named."""

    async def play(s: Stage) -> None:
        a, b = Mutex(s.conductor, "a"), Mutex(s.conductor, "b")
        await s.finish(s.start("one", nest([a, b])))
        await s.finish(s.start("two", nest([b, a])))

    finding = reported(play)

    assert finding.signature == "lock_order/lock_order_cycle@nest"
    assert "b (nest) -> a (nest) by two; a (nest) -> b (nest) by one" in finding.message


def test_a_circle_of_three() -> None:
    """A circle over three classes needs no two that are taken in both orders."""

    async def play(s: Stage) -> None:
        a, b, c = (Mutex(s.conductor, name) for name in "abc")
        for pair in ([a, b], [b, c], [c, a]):
            await nest(pair)

    assert reported(play).kind == "lock_order_cycle"


def test_one_order_for_all() -> None:
    """Locks that are always taken in one order are no circle, whatever is left out."""

    async def play(s: Stage) -> None:
        a, b, c = (Mutex(s.conductor, name) for name in "abc")
        for locks in ([a, b], [b, c], [a, c], [a, b, c]):
            await nest(locks)

    watched(play)


def test_a_trylock_waits_for_nobody() -> None:
    """A trylock draws no edge; but what is taken under the lock that it got does."""

    async def tries(s: Stage, inside: Mutex | None) -> None:
        a = await s.process("A")
        mutex = Mutex(s.conductor, "a")
        await mutex.lock()
        assert await a.mm.mmap_sem.down_read_trylock()
        await a.mm.up_read()
        await mutex.unlock()
        assert await a.mm.mmap_sem.down_read_trylock()
        await (inside or mutex).lock()

    async def under_what_was_tried(s: Stage) -> None:
        mutex = Mutex(s.conductor, "b")
        await mutex.lock()
        a = await s.process("A")
        await a.mm.down_read()
        await a.mm.up_read()
        await mutex.unlock()
        await tries(s, mutex)

    watched(lambda s: tries(s, None))
    assert reported(under_what_was_tried).kind == "lock_order_cycle"


def test_classes() -> None:
    """All locks of a kind are one class, whoever's they are."""

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

    names = {"mmap_sem of A.0": "mmap_sem", "page lock of pfn 3": "page lock", "anon_vma 12": "anon_vma"}
    assert {name: lock_class(Named(name)) for name in names} == names


class TakesMutexLate(Ksm):
    """Takes ksm_thread_mutex where mmap_sem is held."""

    async def ksm_enter(self, mm: object) -> int:
        await self.ksm_thread_mutex.lock()
        await self.ksm_thread_mutex.unlock()
        return await super().ksm_enter(mm)  # type: ignore[arg-type]


class TakesMmapSemLate(Ksm):
    """Waits for mmap_sem under the page lock."""

    async def ksm_migrate_page(self, newpage: Frame, oldpage: Frame) -> None:
        mm = self.address_spaces[0]
        await mm.down_read()
        await mm.up_read()
        await super().ksm_migrate_page(newpage, oldpage)


class WaitsForPages(Ksm):
    """Waits for the lock of a page that is to be merged away."""

    async def trylock_to_merge(self, page: Frame) -> bool:
        await page.lock()
        return True


class AllocatesUnderSpinlock(Ksm):
    """Allocates a page while the list of address spaces is locked."""

    async def insert_slot(self, slot: object, *, at_end: bool) -> None:
        page = await self.alloc_page(0)
        assert page is not None
        await page.put()
        await super().insert_slot(slot, at_end=at_end)  # type: ignore[arg-type]


async def twins(s: Stage) -> None:
    """Two equal pages are merged, moved twice, one is written again; a child is forked, all exit."""
    a, b = await s.process("A", 1), await s.process("B", 1)
    await s.scan(3)
    assert await s.kernel.migrate_frame(s.frame(a, 0), 1) == 0
    await s.migrate(a, 0, 0)
    await s.write(b, 0, 2)
    await s.kernel.fork(a.mm, "C")
    await s.quiesce()
    await s.farewell()


@pytest.mark.parametrize(
    ("layer", "signature"),
    [
        (TakesMutexLate, "lock_order/ksm_thread_mutex_under_mmap_sem@ksm_enter"),
        (TakesMmapSemLate, "lock_order/mmap_sem_under_page_lock@ksm_migrate_page"),
        (WaitsForPages, "lock_order/waits_to_merge@trylock_to_merge"),
        (AllocatesUnderSpinlock, "lock_order/sleeping_under_spinlock@alloc_page"),
    ],
)
def test_rules(layer: type[Ksm], signature: str) -> None:
    """Each rule reports a kernel that breaks it, in the one function that does, although nobody is caught."""
    assert reported(twins, layer=layer).signature == signature


def test_the_right_kernel() -> None:
    """A kernel that keeps the rules is acquitted: migration nests two page locks, fork two of its locks each."""
    watched(twins)


def test_a_second_mmap_sem() -> None:
    """L3: who has ksm_thread_mutex holds one mmap_sem at most; without the mutex it is an error, too, but for fork."""

    async def play(s: Stage, mutex: bool) -> None:
        a, b = await s.process("A"), await s.process("B")
        if mutex:
            await s.kernel.ksm_thread_mutex.lock()
        await a.mm.down_read()
        await b.mm.down_read()

    assert reported(lambda s: play(s, True)).kind == "second_mmap_sem"
    assert reported(lambda s: play(s, False)).kind == "nested_mmap_sem"


def test_two_page_locks() -> None:
    """A second page may be locked if nobody else can have found it, as the target of a migration; no other."""

    async def fresh(s: Stage) -> None:
        one, other = await s.kernel.alloc_page(0), await s.kernel.alloc_page(0)
        assert one is not None
        assert other is not None
        await one.lock()
        await other.lock()

    async def known(s: Stage) -> None:
        a = await s.process("A", 1, 2)
        await s.frame(a, 0).lock()
        await s.frame(a, 1).lock()

    watched(fresh)
    assert reported(known).kind == "nested_page_lock"


def test_the_leaf() -> None:
    """Nothing is taken under ksm_mmlist_lock."""

    async def play(s: Stage) -> None:
        a = await s.process("A")
        await s.kernel.ksm_mmlist_lock.lock()
        await a.mm.page_table_lock.lock()

    assert reported(play).kind == "lock_under_leaf"


class Halves(Workload):
    """Takes two locks in an order that is drawn."""

    async def run(self, host: Host) -> None:
        conductor = host.machine.conductor
        locks = [Mutex(conductor, "first"), Mutex(conductor, "second")]
        await nest(locks if host.draw("order", 2) else locks[::-1])


def test_put_together_from_several_schedules() -> None:
    """A circle of which each schedule shows one half is found when both are there, with the seeds that show them."""
    campaign = Campaign(Plan([make_subject(Halves, watch="lock_order")], range(8), "random"))
    trio.run(campaign.run)

    (found,) = campaign.tally.found.values()
    assert found.outcome.defect is not None
    assert found.outcome.defect.signature == "lock_order/lock_order_cycle@nest"
    assert found.outcome.schedule == ""
    assert "put together from those of seeds 0, " in found.problem
    assert campaign.tally.verdict == "finding"
    assert campaign.tally.schedules == 8


def test_merging() -> None:
    """The first case of an edge is kept, with its seed; a known edge closes nothing."""
    graph = LockGraph()
    ab, ba = Edge("a", "b", "f", "g", "ksmd"), Edge("b", "a", "h", "i", "host")

    assert graph.merge([ab], 1) == []
    assert graph.merge([ab], 2) == []
    assert graph.merge([ba, ab], 3) == [[ba._replace(seed=3), ab._replace(seed=1)]]
    assert graph.merge([ba, ab], 4) == []
