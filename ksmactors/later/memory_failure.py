"""What memory_failure does in later kernels. Recordings: hwpoison."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.locks import Mutex
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import EAGAIN, EBUSY, EHWPOISON
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware


class HwpoisonResult(Ksm):
    """madvise(MADV_HWPOISON) returns what memory_failure does, which runs once at a time; reclaim makes no entries that
    end in SIGBUS.

    Before, the result was ignored. A page whose failure is known already is -EHWPOISON now, and the reference is put
    (v5.13). A page that is not on the LRU is given up under its lock only, and the reference is kept. Reclaim unmaps
    such a page as any other (6da6b1d4a7df, v6.3 and 6.1.y); migration does not.

    Soft offline keeps the frame that a page has left, so no other actor gets it before it is flagged (v5.9). A frame
    that is known is no error (v5.10), and a page that does not move is -EBUSY (v5.12).
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.mf_mutex = Mutex(self.conductor, "mf_mutex")
        self._leaving: set[int] = set()
        """The frames whose pages soft offline migrates (MR_MEMORY_FAILURE), by number."""

    @override
    def hwpoison_error(self, result: int) -> int:
        return result

    @override
    async def memory_failure(self, pfn: int, *, counted: bool = False, victim: AddressSpace | None = None) -> int:
        await self.mf_mutex.lock()
        result = await super().memory_failure(pfn, counted=counted, victim=victim)
        await self.mf_mutex.unlock()
        return result

    @override
    async def known_failure(self, page: Frame, *, counted: bool) -> int:
        if counted:
            await page.put()
        return -EHWPOISON

    @override
    async def is_on_lru(self, page: Frame) -> bool:
        await super().is_on_lru(page)
        return True

    @override
    async def memory_failure_locked(self, page: Frame, victim: AddressSpace | None) -> int:
        slot = page.swap
        if not page.lru and not (slot is not None and slot.writeback):
            return -EBUSY
        return await super().memory_failure_locked(page, victim)

    @override
    def unmapped_as_poisoned(self, page: Frame, reclaim: bool) -> bool:
        return not reclaim and super().unmapped_as_poisoned(page, reclaim)

    @override
    async def soft_offline_page(self, pfn: int, *, counted: bool = False) -> int:
        await self.mf_mutex.lock()
        result = await super().soft_offline_page(pfn, counted=counted)
        await self.mf_mutex.unlock()
        return result

    @override
    async def known_at_soft_offline(self, page: Frame, *, counted: bool) -> int:
        await super().known_at_soft_offline(page, counted=counted)
        return 0

    @override
    async def migrate_off(self, page: Frame) -> int:
        self._leaving.add(page.pfn)
        result = await self.migrate_pages(page, page.nid, exactly=False)
        self._leaving.remove(page.pfn)
        if result == 0:  # page_handle_poison
            await self.test_set_page_hwpoison(page)
            self._keep(page)
            self.failure_handled(page, 0)
        return self.soft_offline_error(result)

    @override
    async def release_migrated(self, page: Frame) -> None:
        if page.pfn not in self._leaving:
            await super().release_migrated(page)

    @override
    def soft_offline_error(self, result: int) -> int:
        return -EBUSY if result == -EAGAIN else result


class KsmHwpoison(Ksm):
    """The failure of a KSM page is handled like that of any other: entries end in SIGBUS, v6.4 (4248d0083ec5).

    Before, it was refused after the flag had been set: the page stayed mapped. The rmap_items of the node say which
    processes map it. The node stays in its tree, and goes on naming the page, whose last reference is never put.
    """

    @override
    def unmaps_poisoned_ksm_pages(self) -> bool:
        return True


class HwpoisonCaller(Ksm):
    """madvise(MADV_HWPOISON) kills its caller, as if that had touched the page, v6.11 (MF_ACTION_REQUIRED)."""

    @override
    def task_early_kill(self, mm: AddressSpace, victim: AddressSpace | None) -> bool:
        return mm is victim
