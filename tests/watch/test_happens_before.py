"""happens_before: what orders two accesses and what does not, and the races of kernels that forget a lock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache

import pytest
import trio

from ksmactors.errors import Finding
from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, WRITE
from ksmactors.interleave.locks import Mutex, RwSem, SpinLock, WaitQueue
from ksmactors.interleave.mailbox import Mailbox, PendingCall, call
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame
from ksmactors.mm.secondary import SecondaryMmu
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from ksmactors.watch.marked_accesses import MARKED
from tests.helpers import plays
from tests.helpers.directed import Play, Stage, about_to, perform

Act = Callable[[], Awaitable[None]]


def watched(play: Play, *, layer: type[Ksm] | None = None) -> Stage:
    return perform(play, layer=layer, watchers=["happens_before"])


def reported(play: Play, *, layer: type[Ksm] | None = None) -> Finding:
    with pytest.raises(Finding) as found:
        watched(play, layer=layer)
    assert found.value.kind == "data_race"
    return found.value


class Shared:
    """Something with a field that two actors touch."""

    name = "the notebook"


async def touch(s: Stage, what: Shared, kind: int) -> None:
    await s.conductor.point(kind, what, "page")


async def both(s: Stage, first: Awaitable[None], second: Awaitable[None]) -> None:
    """Two actors, one after the other."""
    one, two = s.start("one", first), s.start("two", second)  # type: ignore[arg-type]  # coroutines
    await s.finish(one)
    await s.finish(two)


@pytest.mark.parametrize(("first", "second"), [(READ, WRITE), (WRITE, READ), (WRITE, WRITE)])
def test_unordered(first: int, second: int) -> None:
    """Two actors touch a field one long after the other, one of them writes: a race, told with both sides."""

    async def play(s: Stage) -> None:
        what = Shared()
        await both(s, touch(s, what, first), touch(s, what, second))

    finding = reported(play)

    verbs = ("reads", "writes")
    assert finding.signature == "happens_before/data_race@live"
    assert f"two {verbs[second]} page of the notebook in live at step" in finding.message
    assert f"where one {verbs[first]} it in live (holds no lock)" in finding.message
    assert finding.other_step > 0


def test_two_readers() -> None:
    """Two reads are no race."""

    async def play(s: Stage) -> None:
        what = Shared()
        await both(s, touch(s, what, READ), touch(s, what, READ))

    watched(play)


async def under(lock: Mutex | SpinLock, work: Awaitable[None]) -> None:
    await lock.lock()
    await work
    await lock.unlock()


def test_locks_order() -> None:
    """Who holds the same lock comes after who held it before; another lock does not help."""

    async def play(s: Stage, locks: tuple[Mutex | SpinLock, Mutex | SpinLock]) -> None:
        what = Shared()
        await both(s, under(locks[0], touch(s, what, WRITE)), under(locks[1], touch(s, what, WRITE)))

    async def one(s: Stage) -> None:
        for lock in (Mutex(s.conductor, "mutex"), SpinLock(s.conductor, "spin")):
            await play(s, (lock, lock))

    async def two(s: Stage) -> None:
        await play(s, (Mutex(s.conductor, "mutex"), Mutex(s.conductor, "other")))

    watched(one)
    assert "(holds mutex)" in reported(two).message


def test_readers_do_not_order_each_other() -> None:
    """Two shared holds of a lock order nothing; a hold alone comes after all shared ones, and before the next."""

    async def shared(sem: RwSem, work: Awaitable[None]) -> None:
        await sem.down_read()
        await work
        await sem.up_read()

    async def alone(sem: RwSem, work: Awaitable[None]) -> None:
        await sem.down_write()
        await work
        await sem.up_write()

    async def two_readers(s: Stage) -> None:
        what, sem = Shared(), RwSem(s.conductor, "sem")
        await both(s, shared(sem, touch(s, what, WRITE)), shared(sem, touch(s, what, WRITE)))

    async def a_writer(s: Stage) -> None:
        what, sem = Shared(), RwSem(s.conductor, "sem")
        await both(s, shared(sem, touch(s, what, READ)), alone(sem, touch(s, what, WRITE)))
        await both(s, shared(sem, touch(s, what, READ)), shared(sem, touch(s, what, READ)))

    reported(two_readers)
    watched(a_writer)


def test_waking_orders() -> None:
    """Who is woken, started, sent a message or answered comes after what was done before that."""

    async def play(s: Stage) -> None:
        queue, box = WaitQueue(s.conductor, "queue"), Mailbox[PendingCall](s.conductor, "box")
        woken, sent = Shared(), Shared()

        async def waits() -> None:
            await queue.wait()
            await touch(s, woken, WRITE)

        async def serves() -> None:
            request = await box.receive()
            await touch(s, sent, WRITE)
            request.reply(None)

        async def asks() -> None:
            await touch(s, sent, WRITE)
            await call(box, None)
            await touch(s, sent, WRITE)

        waiter, asker = s.start("waiter", waits()), s.start("asker", asks())
        await s.blocks(waiter)
        await touch(s, woken, WRITE)
        queue.wake_all()
        await s.finish(waiter)
        await s.go(asker)
        await s.finish(s.start("server", serves()))
        await s.finish(asker)

    watched(play)


def test_a_reference_orders() -> None:
    """Who frees a page comes after all who had a reference, and before who gets the frame next; who only reads the
    count is ordered with nobody."""

    async def puts(s: Stage, page: Frame, what: Shared) -> None:
        await touch(s, what, WRITE)
        await page.put()

    async def used_again(s: Stage) -> None:
        page, what = await s.kernel.alloc_page(0), Shared()
        assert page is not None
        await page.get()

        async def gets_it() -> None:
            assert await s.kernel.alloc_page(0) is page
            await touch(s, what, WRITE)

        following = s.start("next", gets_it())
        await both(s, puts(s, page, what), page.put())
        await s.finish(following)

    async def counted(s: Stage) -> None:
        page, what = await s.kernel.alloc_page(0), Shared()
        assert page is not None
        await page.get()

        async def counts() -> None:
            await page.count()
            await touch(s, what, WRITE)

        await both(s, puts(s, page, what), counts())

    watched(used_again)
    reported(counted)


def test_left_and_taken_up() -> None:
    """A lock that is not emulated orders where somebody says so."""

    async def play(s: Stage) -> None:
        what = Shared()

        async def leaves() -> None:
            await touch(s, what, WRITE)
            s.conductor.touch(RELEASE, what, "queue")

        async def takes() -> None:
            s.conductor.touch(ACQUIRE, what, "queue")
            s.conductor.touch(WRITE, what, "page")

        await both(s, leaves(), takes())

    watched(play)


class UnlinksUnlocked(Ksm):
    """Takes an item off its node's hlist without the lock of the page."""

    async def leave_stable_node(self, item: RmapItem) -> None:
        node = item.head
        assert isinstance(node, StableNode)
        await self.hlist_del(node, item)
        self._make_volatile(item, last=node.first is None)


class ExitsAtOnce(Ksm):
    """Does not wait, at exit, for who is in the page tables now (the mmap_sem cycle of __ksm_exit)."""

    async def ksm_exit(self, mm: AddressSpace) -> None:
        await self.ksm_mmlist_lock.lock()
        await self.ksm_mmlist_lock.unlock()


class RegistersUnlocked(Ksm):
    """Puts an address space on the list without ksm_mmlist_lock."""

    async def ksm_enter(self, mm: AddressSpace) -> int:
        slot = self.alloc_mm_slot(mm)
        assert slot is not None
        await self.insert_slot(slot, at_end=False)
        mm.registered = True
        mm.count += 1
        return 0


async def unmerged_during_a_migration(s: Stage) -> None:
    """A migration has walked the items of a page when ksmd takes one of them away."""
    await plays.passed_over_during_a_migration(s)


async def exit_during_a_scan(s: Stage) -> None:
    """A process exits while ksmd is in its page tables."""
    b = await s.process("B", 2)
    await s.scan(1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(ACQUIRE, b.mm.page_table_lock))
    exit_ = s.start("exit", s.kernel.mmput(b.mm))
    for puppet in (exit_, ksmd, exit_, ksmd):
        await s.go(puppet)


async def two_register(s: Stage) -> None:
    """Two processes take their first advice, each by a thread of its own."""
    for puppet in [s.start(name, s.kernel.ksm_enter(s.kernel.mm_alloc(name))) for name in "AB"]:
        await s.finish(puppet)


RACES: dict[str, tuple[type[Ksm], Play]] = {
    "remove_rmap_item_from_tree+rmap_walk_ksm": (UnlinksUnlocked, unmerged_during_a_migration),
    "exit_mmap+scan_get_next_rmap_item": (ExitsAtOnce, exit_during_a_scan),
    "insert_slot": (RegistersUnlocked, two_register),
}
"""By what the signature names: a kernel that forgets a lock, and a program in which nothing bad need come of it."""


@pytest.mark.parametrize("where", RACES)
def test_forgotten_locks(where: str) -> None:
    """A kernel that forgets a lock has a race."""
    layer, play = RACES[where]
    assert reported(play, layer=layer).where == where


@pytest.mark.parametrize("play", [play for _, play in RACES.values()], ids=lambda play: play.__name__)
def test_the_right_kernel(play: Play) -> None:
    """The same programs have no race where no lock is forgotten."""
    watched(play)


@cache
def digests(workload: str, *watch: str) -> tuple[bytes, bytes]:
    """A schedule's digests of events and of choices; nothing is found in it."""
    outcome = trio.run(run_schedule, make_subject(workload, watch=watch), 3, "random")
    assert outcome.defect is None
    return outcome.digest, outcome.shape


@pytest.mark.parametrize("watch", ["lock_order", "happens_before", "lockset"])
@pytest.mark.parametrize("workload", ["exit_race", "swap_pressure"])
def test_watching_changes_nothing(workload: str, watch: str) -> None:
    """A schedule has the same choices and the same events with a detector and without, and nothing is found in it."""
    assert digests(workload, watch) == digests(workload)


def test_every_mark_is_of_something() -> None:
    """Each name in the table of marked accesses is an operation that exists, and has its reason."""
    for name, (_, reason) in MARKED.items():
        assert any(hasattr(cls, name) for cls in (Frame, Ksm, Mailbox, SecondaryMmu)), name
        assert reason
