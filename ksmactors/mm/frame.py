"""A page frame and its struct page: reference count, page lock, mapping, content.

The struct page of a free frame stays: a keyhole reader (`get_ksm_page`) may read its mapping and try to take a
reference at any time. Any other use of a free frame is a finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from typing_extensions import override

from ksmactors.interleave import reports
from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, WRITE, YIELD, Actor
from ksmactors.interleave.locks import contended
from ksmactors.interleave.observed import ObservedField
from ksmactors.mm.content import Content
from ksmactors.mm.reports import lifetime, misuse
from ksmactors.quantity import quantity

if TYPE_CHECKING:
    from ksmactors.interleave.conductor import Conductor
    from ksmactors.mm.anon_vma import AnonVma
    from ksmactors.mm.node import Node
    from ksmactors.mm.swap_device import SwapSlot


class KsmMapping:
    """page->mapping of a KSM page: names its stable node, or none. One object for each stable node, so that
    "the mapping is still the one expected" is identity, as it is a comparison of words in the kernel."""

    __slots__ = ("stable_node",)

    def __init__(self, stable_node: object) -> None:
        self.stable_node = stable_node


KSM_WITHOUT_NODE: Final = KsmMapping(None)
"""What an upgraded page has before its node exists, and an old frame after its page has been migrated."""


class Frame:
    """struct page of one frame.

    `refcount` counts references, -1 while they are frozen; `mapcount` is the number of page table entries (the
    kernel stores it minus one). `owner` holds the page lock. For reports: `writer` is the number of the actor that
    wrote last, or freed the frame, `getter` of the one that last took a reference.
    """

    __slots__ = (
        "_dirty", "conductor", "content", "getter", "index", "lru", "mapcount", "mapping", "node", "owner", "pfn",
        "refcount", "writer",
    )  # fmt: skip

    vital: ClassVar[str] = "life"
    """The field on which it hangs whether any other operation is allowed: whether there are references. It changes when
    the frame is given out, when the last reference goes, and when its memory comes or goes; how many references there
    are in between is another field."""

    dirty = ObservedField[bool]()
    """PageDirty: the swap device does not have what is in the page."""

    def __init__(self, conductor: Conductor, node: Node, pfn: int, content: Content) -> None:
        self.conductor, self.node, self.pfn = conductor, node, pfn
        self.content = content
        self.refcount = 0
        self.mapcount = 0
        self.mapping: AnonVma | KsmMapping | None = None
        self.index = 0
        self.lru = False
        self._dirty = False
        self.owner: Actor | None = None
        self.writer = -1
        self.getter = -1

    @property
    def nid(self) -> int:
        """The node this frame is on."""
        return self.node.nid

    @property
    def name(self) -> str:
        """How its lock is called in reports."""
        return f"page lock of pfn {self.pfn}"

    @property
    def is_anon(self) -> bool:
        """PageAnon: anonymous memory, KSM pages included."""
        return self.mapping is not None

    @property
    def is_ksm(self) -> bool:
        """PageKsm, with or without a node."""
        return type(self.mapping) is KsmMapping

    @property
    def stable_node(self) -> object:
        """page_stable_node: the node named by the mapping, or None."""
        mapping = self.mapping
        return mapping.stable_node if type(mapping) is KsmMapping else None

    @property
    def swap(self) -> SwapSlot | None:
        """The slot of a page in the swap cache (PageSwapCache, page->private), or None."""
        return self.node.swap_cache.get(self.pfn)

    @property
    def mlocked(self) -> bool:
        """PageMlocked: some VM_LOCKED vma maps it, as far as is known; reclaim leaves it alone."""
        return self.pfn in self.node.mlocked

    @property
    def hwpoison(self) -> bool:
        """PageHWPoison: its memory has failed."""
        return self.pfn in self.node.poisoned

    @property
    def kept(self) -> int:
        """How many references memory_failure keeps on it for good."""
        return self.node.poisoned.get(self.pfn, 0)

    @override
    def __repr__(self) -> str:
        return f"<Frame {self.pfn} on node {self.nid}>"

    def label(self, field: object) -> str:
        """How strategies call its fields: `refcount/PFN`; the lock is `page_lock/PFN`."""
        return f"{field or 'page_lock'}/{self.pfn}"

    # -- references -----------------------------------------------------------------------------------------

    async def get(self, refs: int = 1) -> None:
        """get_page, or page_ref_add: the caller or a pte already holds a reference."""
        await self.conductor.point(WRITE, self, "refcount")
        if self.refcount <= 0:
            raise lifetime("frame", f"get_page on pfn {self.pfn}, which has no references", self)
        self.refcount += refs
        self.getter = self.conductor.turn.number

    async def get_unless_zero(self) -> bool:
        """get_page_unless_zero: False if the frame is free or its references are frozen."""
        await self.conductor.point(WRITE, self, "refcount")
        if self.refcount <= 0:
            return False
        self.refcount += 1
        self.getter = self.conductor.turn.number
        return True

    async def put(self, refs: int = 1) -> None:
        """put_page, or put_page_refs: the last reference gives the frame back to its node."""
        await self.conductor.point(WRITE, self, "refcount")
        if self.refcount < refs:
            raise lifetime("frame", f"put_page on pfn {self.pfn}, which has no references", self)
        self.refcount -= refs
        if self.refcount == 0:
            self.node.free(self)

    async def count(self) -> int:
        """page_count: a snapshot, out of date as soon as another actor runs."""
        await self.conductor.point(READ, self, "refcount")
        return self.refcount

    async def freeze(self, expected: int) -> bool:
        """page_freeze_refs: take all references away at once if there are exactly so many."""
        await self.conductor.point(WRITE, self, "refcount")
        if self.refcount != expected:
            return False
        self.refcount = -1
        self.getter = self.conductor.turn.number
        return True

    async def unfreeze(self, count: int) -> None:
        """page_unfreeze_refs."""
        await self.conductor.point(WRITE, self, "refcount")
        if self.refcount != -1:
            raise misuse("unfreeze_of_unfrozen", f"unfreeze of pfn {self.pfn}, which is not frozen", self)
        self.refcount = count

    async def in_swap_cache(self) -> bool:
        """PageSwapCache, asked without the page lock: allowed on a free frame."""
        await self.conductor.point(READ, self, "swap_cache")
        self.must_be_present("PageSwapCache")
        return self.swap is not None

    async def free_frozen(self) -> None:
        """The end of a page whose references were frozen for good: back to its node."""
        await self.conductor.point(WRITE, self, "refcount")
        if self.refcount != -1:
            count = quantity(self.refcount, "reference")
            raise misuse("freed_unfrozen", f"pfn {self.pfn} is freed with {count}, not frozen ones", self)
        self.refcount = 0
        self.node.free(self)

    # -- mappings: atomics, each a part of the operation before ------------------------------------------------

    def page_mapcount(self) -> int:
        """How many page table entries map the page, at this instant."""
        self.conductor.touch(YIELD, self, "mapcount")
        return self.mapcount

    def change_mapcount(self, by: int) -> None:
        """An entry that maps the page has come (1) or gone (-1)."""
        self.conductor.touch(RELEASE, self, "mapcount")  # no order, but which actor is first matters
        self.mapcount += by

    # -- the page lock ----------------------------------------------------------------------------------------

    async def trylock(self) -> bool:
        """trylock_page."""
        await self.conductor.point(ACQUIRE, self)
        self.must_be_alive("trylock_page")
        if self.owner is not None:
            contended(self.conductor, self, self.owner)
            return False
        self._take(tried=True)
        return True

    async def lock(self) -> None:
        """lock_page: blocks while another holds it; others may move before it is taken."""
        conductor = self.conductor
        conductor.might_sleep(self)
        await conductor.point(ACQUIRE, self)
        self.must_be_alive("lock_page")
        while self.owner is not None:
            contended(conductor, self, self.owner)
            await self._wait()
        self._take()

    async def unlock(self) -> None:
        """unlock_page: wakes all who wait for it or for its release."""
        conductor = self.conductor
        await conductor.point(RELEASE, self)
        if self.owner is not conductor.turn:
            raise reports.not_owner(conductor.turn, self)
        self.owner.held.remove(self)
        self.owner = None
        if conductor.observers is not None:
            conductor.observers.released(conductor.turn, self)
        for waiter in self.node.lock_waiters.pop(self.pfn, ()):
            conductor.wake(waiter)

    async def wait_unlocked(self) -> None:
        """wait_on_page_locked: wait for a release without taking the lock. The caller holds a reference."""
        self.conductor.might_sleep(self)
        await self.conductor.point(READ, self)
        while self.owner is not None:
            await self._wait()

    def _take(self, *, tried: bool = False) -> None:
        conductor = self.conductor
        self.owner = conductor.turn
        self.owner.held.append(self)
        if conductor.observers is not None:
            conductor.observers.acquired(self.owner, self, tried=tried)

    async def _wait(self) -> None:
        self.node.lock_waiters.setdefault(self.pfn, []).append(self.conductor.turn)
        await self.conductor.block(self)

    # -- marked fields ----------------------------------------------------------------------------------------

    async def read_mapping(self) -> AnonVma | KsmMapping | None:
        """ACCESS_ONCE(page->mapping): allowed on a free frame."""
        await self.conductor.point(READ, self, "mapping")
        self.must_be_present("a look at page->mapping")
        return self.mapping

    async def set_mapping(self, mapping: AnonVma | KsmMapping | None) -> None:
        """Store page->mapping."""
        await self.conductor.point(WRITE, self, "mapping")
        self.must_be_alive("a store to page->mapping")
        self.mapping = mapping

    async def read_content(self) -> Content:
        """Read the 4096 bytes; they may be written as soon as another actor runs, unless the page is KSM."""
        await self.conductor.point(READ, self, "content")
        self.must_be_alive("a read of the content")
        return self.content

    async def write_content(self, content: Content) -> None:
        """Copy into a page that is not mapped writable anywhere."""
        await self.conductor.point(WRITE, self, "content")
        self.must_be_alive("a write of the content")
        self.content = content

    def must_be_present(self, doing: str) -> None:
        """Raise the finding if the frame has been removed: then there is no struct page to read.

        For callers that reach a frame by its number. Other callers without a reference (compaction, a lookup in the
        swap cache or in a page table) are kept apart from hot-remove by locks and RCU that are not emulated.
        """
        if self.node.absent and self.node.is_absent(self.pfn):
            raise lifetime("frame", f"{doing} of pfn {self.pfn}, which is offline", self)

    def must_be_alive(self, doing: str) -> None:
        """Raise the finding if the frame is free."""
        if self.refcount == 0:
            raise lifetime("frame", f"{doing} of pfn {self.pfn}, which is free", self)
