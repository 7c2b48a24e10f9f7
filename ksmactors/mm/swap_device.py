"""The swap device and the swap cache: slots, who counts them, which page is cached for each."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from ksmactors.interleave.actor import RELEASE, YIELD
from ksmactors.interleave.locks import SpinLock, WaitQueue
from ksmactors.interleave.observed import ObservedField
from ksmactors.mm.content import Content

if TYPE_CHECKING:
    from ksmactors.interleave.conductor import Conductor
    from ksmactors.mm.frame import Frame

DEFAULT_SWAP_PAGES: Final = 1 << 20
"""Slots come into being when they are used, so a large device costs nothing."""


class SwapSlot:
    """A swap entry: one page's place on the device, from its allocation until its last use.

    `count` is the number of page table entries that name it (swap_map), `cached` SWAP_HAS_CACHE, `page` what the radix
    tree of the swap cache has for it (`tree_lock`). What a frame needs while it is in the swap cache is kept here, too,
    since few are at any time: `writeback` and `uptodate` are flags of that page. `content` is what was last written to
    the device; `bad` says that the device cannot read it back.
    """

    __slots__ = ("_uptodate", "_writeback", "bad", "cached", "conductor", "content", "count", "number", "page")

    writeback = ObservedField[bool]()
    uptodate = ObservedField[bool]()

    def __init__(self, conductor: Conductor, number: int) -> None:
        self.conductor, self.number = conductor, number
        self.count = 0
        self.cached = True
        self.page: Frame | None = None
        self._writeback = False
        self._uptodate = True
        self.content: Content | None = None
        self.bad = False

    @override
    def __repr__(self) -> str:
        return f"<SwapSlot {self.number}>"

    def label(self, field: object) -> str:
        """How strategies call its fields: `swap_count/NUMBER`."""
        return f"swap_{field}/{self.number}"


class SwapDevice:
    """One swap area with the address space of its cache.

    Args:
        size: slots, at least 0.
    """

    def __init__(self, conductor: Conductor, size: int = DEFAULT_SWAP_PAGES) -> None:
        self.conductor, self.size = conductor, size
        self.tree_lock: Final = SpinLock(conductor, "tree_lock of the swap cache")
        self.used: Final[dict[int, SwapSlot]] = {}
        """The slots in use, by number."""
        self.writes: Final[deque[SwapSlot]] = deque()
        """Pages under writeback, in the order in which they will be written."""
        self.submitted: Final = WaitQueue(conductor, "writes to the swap device", idle=True)
        self.written: Final = WaitQueue(conductor, "the end of a writeback")
        self.allocated = 0
        self.synchronous = False
        """Whether writes and reads have ended when they return, as those of a RAM disk have. Otherwise pages are under
        writeback until the device's own actor (`Swap.end_swap_writes`) has written them."""
        self.writeok = True
        """SWP_WRITEOK: slots are given out. Not while swapoff empties the device."""

    def take(self) -> SwapSlot | None:
        """A slot with SWAP_HAS_CACHE and no users, or None if the device is full, or gives out none."""
        self.conductor.touch(RELEASE, self, "used")
        if not self.writeok or len(self.used) >= self.size:
            return None
        self.allocated += 1
        slot = self.used[self.allocated] = SwapSlot(self.conductor, self.allocated)
        return slot

    def give_back_unused(self, slot: SwapSlot) -> None:
        """Free a slot that neither an entry nor the cache needs any more."""
        if slot.count == 0 and not slot.cached:
            self.conductor.touch(RELEASE, self, "used")
            del self.used[slot.number]

    def set_writeok(self, writeok: bool) -> None:
        """Whether slots are given out from now on; under swap_lock."""
        self.conductor.touch(RELEASE, self, "used")
        self.writeok = writeok

    def first_used(self) -> SwapSlot | None:
        """find_next_to_unuse: an unlocked look."""
        self.conductor.touch(YIELD, self, "used")
        return next(iter(self.used.values()), None)

    @property
    def full(self) -> bool:
        """vm_swap_full: more than half of it is used. An unlocked look."""
        self.conductor.touch(YIELD, self, "used")
        return len(self.used) * 2 > self.size
