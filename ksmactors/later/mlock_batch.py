"""mlock and munlock by batches for each CPU, v5.18 (2fbb0c10d1e8)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.interleave.actor import RELEASE, WRITE
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware


class MlockBatch(Ksm):
    """A page that loses or gets a mapping in a VM_LOCKED vma waits in a batch, with a reference for it.

    ksmd merges a page that a locked vma maps, and a child of its process, too. The batch has a reference on it then, so
    when ksmd comes to the child's mapping in the same scan, it takes the page for pinned. It merges it in the next one.
    Before, the mark was changed on the spot.

    A write fault in a locked vma puts both pages there, the old one and its copy. So a KSM page that no process maps
    any more stays until the next drain of that CPU, and its stable node is not stale yet. A page that comes back from
    swap into a locked vma waits as well; that is not emulated.
    """

    MLOCK_BATCH: ClassVar[int] = 15

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.mlock_batches: Final[dict[int, list[Frame]]] = {}
        """By CPU, the pages that wait; those that are in `_new_to_lru` are on no list yet."""
        self._new_to_lru: set[int] = set()

    @override
    async def mlock_vma_pages_range(self, mm: AddressSpace, start: int, end: int) -> int:
        """populate_vma_page_range drains its CPU: what mlock itself has copied does not wait."""
        result = await super().mlock_vma_pages_range(mm, start, end)
        self.lru_add_drain()
        return result

    @override
    async def hand_mlock_over(self, page: Frame, kpage: Frame) -> Frame:
        locked = await super().hand_mlock_over(page, kpage)
        self._wait_in_batch(kpage)
        self._wait_in_batch(page)
        return locked

    @override
    async def munlock_copied_page(self, old: Frame) -> None:
        """munlock_vma_page, as page_remove_rmap calls it."""
        await super().munlock_copied_page(old)
        self._wait_in_batch(old)

    @override
    def page_add_new_anon_rmap(self, page: Frame, vma: Vma, address: int) -> None:
        """lru_cache_add_inactive_or_unevictable: a new page of a locked vma goes this way (mlock_new_page)."""
        super().page_add_new_anon_rmap(page, vma, address)
        if vma.locked:
            page.lru = False
            self._new_to_lru.add(page.pfn)
            self._wait_in_batch(page)

    def _wait_in_batch(self, page: Frame) -> None:
        self.conductor.touch(RELEASE, page, "refcount")
        page.refcount += 1
        waiting = self.mlock_batches.setdefault(self.conductor.turn.cpu, [])
        waiting.append(page)
        if len(waiting) == self.MLOCK_BATCH:
            self._drain_mlock(self.conductor.turn.cpu)

    def _drain_mlock(self, cpu: int) -> None:
        for page in self.mlock_batches.pop(cpu, ()):
            self.conductor.touch(RELEASE, page, "refcount")
            if page.pfn in self._new_to_lru:
                self._new_to_lru.discard(page.pfn)
                self.conductor.touch(RELEASE, page, "lru")
                page.lru = True
            page.refcount -= 1
            if page.refcount == 0:
                page.node.free(page)

    @override
    def lru_add_drain(self) -> None:
        super().lru_add_drain()
        self._drain_mlock(self.conductor.turn.cpu)

    @override
    async def lru_add_drain_all(self) -> None:
        await super().lru_add_drain_all()
        for cpu in sorted(self.mlock_batches):
            await self.conductor.point(WRITE, self, ("mlock_batch", cpu))
            self._drain_mlock(cpu)

    @override
    def batched_pages(self) -> Iterator[Frame]:
        return chain(super().batched_pages(), *self.mlock_batches.values())


class MlockBatch31(MlockBatch):
    """Batches are of 31 pages, v6.9 (9cecde80aae0)."""

    MLOCK_BATCH: ClassVar[int] = 31
