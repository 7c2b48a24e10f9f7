"""Memory that fails (mm/memory-failure.c): a page is taken out of use, and what maps it finds out by SIGBUS.

The failure is one that software has injected (MADV_HWPOISON), or that a scrubber has reported: the content of the page
can still be read. No process is killed early, as `vm.memory_failure_early_kill` is 0 by default.

Memory that is about to fail is taken out of use before (soft offline): its page is migrated, and no process is killed.
"""

from __future__ import annotations

from typing import Protocol

from typing_extensions import override

from ksmactors.interleave.actor import WRITE, YIELD
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import EAGAIN, EBUSY, EIO, PAGE_SIZE
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.seams import part, seam


class MemoryFailureObserver(Protocol):
    """Is notified of failures of memory."""

    def handled(self, page: Frame, result: int) -> None:
        """memory_failure is about to return this result: 0, or a negative errno if it could not handle the failure."""


class MemoryFailure(MmCore):
    """What the kernel does about a page whose memory has failed. The flag stays for good, and so does the reference
    that memory_failure has: the frame is never given out again."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.memory_failure_observers: list[MemoryFailureObserver] = []
        self.sigbus: list[AddressSpace] = []
        """Processes that have been sent SIGBUS, and have not yet got it."""

    @override
    @seam
    async def madvise_hwpoison(self, mm: AddressSpace, start: int, end: int) -> int:
        """madvise(MADV_HWPOISON), as root: the memory of the pages at these addresses fails; 0, or the error of a page
        that could not be had. v3.9 ignores what memory_failure returns. Source: madvise_hwpoison(), v3.9."""
        for address in range(start, end, PAGE_SIZE):
            page = await self.get_user_pages(mm, address, False)
            if isinstance(page, int):
                return page
            error = self.hwpoison_error(await self.memory_failure(page.pfn, counted=True, victim=mm))
            if error:
                return error
        return 0

    @part
    def hwpoison_error(self, result: int) -> int:
        """What madvise makes of a result of memory_failure."""
        return 0

    @seam
    async def memory_failure(self, pfn: int, *, counted: bool = False, victim: AddressSpace | None = None) -> int:
        """Take a page out of use whose memory has failed: 0 (also if that is known, or the frame is free), or -EBUSY.

        With `counted` the caller has a reference, which is memory_failure's from now on; `victim` is the process by
        whose access the failure was noticed, if any. Where it gives up, the flag stays, and the reference, but for a
        page that is not on the LRU. Source: memory_failure(), v3.9.
        """
        page = self.pfn_to_page(pfn)
        if await self.test_set_page_hwpoison(page):
            return await self.known_failure(page, counted=counted)
        if not counted and not await page.get_unless_zero():
            return -EBUSY if page.refcount else 0  # a free frame is passed over when it would be given out
        self._keep(page)
        if not await self.is_on_lru(page):
            await self.put_kept(page)
            return self.failure_handled(page, -EBUSY)
        await page.lock()
        result = await self.memory_failure_locked(page, victim)
        self.failure_handled(page, result)
        await page.unlock()
        return result

    @part
    async def test_set_page_hwpoison(self, page: Frame) -> bool:
        """TestSetPageHWPoison: whether the frame has had the flag before."""
        await self.conductor.point(WRITE, page, "hwpoison")
        before = page.hwpoison
        page.node.poisoned.setdefault(page.pfn, 0)
        return before

    @part
    async def known_failure(self, page: Frame, *, counted: bool) -> int:
        """The result for a frame that has had the flag before. v3.9 forgets to put the caller's reference."""
        if counted:
            self._keep(page)
        return 0

    def _keep(self, page: Frame) -> None:
        """A reference is memory_failure's, and is not put."""
        page.node.poisoned[page.pfn] += 1

    @part
    async def put_kept(self, page: Frame) -> None:
        """A reference that memory_failure has had is put after all."""
        page.node.poisoned[page.pfn] -= 1
        await page.put()

    @part
    def failure_handled(self, page: Frame, result: int) -> int:
        """The end of memory_failure for a page that is in use."""
        for observer in self.memory_failure_observers:
            observer.handled(page, result)
        return result

    @part
    async def is_on_lru(self, page: Frame) -> bool:
        """Whether a page is on the LRU, maybe after shake_page; only such a page is dealt with in v3.9."""
        self.conductor.touch(YIELD, page, "lru")
        if not page.lru:
            await self.lru_add_drain_all()
            self.conductor.touch(YIELD, page, "lru")
        return page.lru

    @part
    async def memory_failure_locked(self, page: Frame, victim: AddressSpace | None) -> int:
        """The part of memory_failure under the page lock: 0 or -EBUSY."""
        await self.wait_on_page_writeback(page)
        if not await self.hwpoison_user_mappings(page, victim):
            return -EBUSY
        if page.lru and page.swap is None and not page.is_anon:  # it was truncated, or migrated, meanwhile
            return -EBUSY
        return await self.page_action(page)

    @seam
    async def hwpoison_user_mappings(self, page: Frame, victim: AddressSpace | None) -> bool:
        """Unmap a locked page, if it is mapped: whether it is not mapped any more. Source: hwpoison_user_mappings(),
        v3.9."""
        if not page.page_mapcount():
            return True
        if page.is_ksm and not self.unmaps_poisoned_ksm_pages():
            return False
        to_kill = await self.collect_procs(page, victim)
        unmapped = await self.unmap_poisoned(page)
        if page.dirty or not unmapped:
            self.sigbus += to_kill  # kill_procs
        return unmapped

    @seam
    def unmaps_poisoned_ksm_pages(self) -> bool:
        """Whether a KSM page is dealt with like any other: no, up to v6.3; it stays mapped."""
        return False

    @seam
    async def collect_procs(self, page: Frame, victim: AddressSpace | None) -> list[AddressSpace]:
        """Find the processes that map a page and are to be killed at once. Source: collect_procs(), v3.9."""
        found: list[AddressSpace] = []

        async def collect_one(vma: Vma, address: int) -> bool:
            mm = vma.mm
            if mm in found or not self.task_early_kill(mm, victim):
                return False
            if not page.is_ksm:
                if await self.page_check_address(page, mm, address) is None:
                    return False
                await mm.page_table_lock.unlock()
            found.append(mm)
            return False

        await self.rmap_walk(page, collect_one)
        return found

    @seam
    def task_early_kill(self, mm: AddressSpace, victim: AddressSpace | None) -> bool:
        """Whether a process is killed at once, not when it touches the page: none is, in v3.9, unless it has asked for
        it (PR_MCE_KILL_EARLY), or the failure was noticed by an access of the processor."""
        return False

    @seam
    async def page_action(self, page: Frame) -> int:
        """Take an unmapped page off the LRU and, if it is clean, out of the swap cache: 0, or -EBUSY if it is in use.

        A dirty page stays in the swap cache, where the fault of a process that needs it comes to it (do_swap_page).
        Source: page_action(), me_swapcache_dirty(), me_swapcache_clean(), me_pagecache_clean(), v3.9.
        """
        expected = 1
        slot = page.swap
        cached = slot is not None
        if slot is not None and page.dirty:
            page.dirty = False
            slot.uptodate = False  # for a fault that has asked for the flag before, and waits for the lock
            expected = 2
        elif cached:
            await self.delete_from_swap_cache(page)
        taken_off = await self.isolate_lru_page(page)
        if taken_off:
            await page.put()
        count = await page.count()
        return 0 if count == expected and (taken_off or not cached) else -EBUSY

    # -- soft offline -------------------------------------------------------------------------------------------

    @override
    @seam
    async def madvise_soft_offline(self, mm: AddressSpace, start: int, end: int) -> int:
        """madvise(MADV_SOFT_OFFLINE), as root: move the pages at these addresses to other frames, and take theirs out
        of use; 0, or the error of the first that could not be moved. Source: madvise_hwpoison(), v3.9."""
        for address in range(start, end, PAGE_SIZE):
            page = await self.get_user_pages(mm, address, False)
            error = page if isinstance(page, int) else await self.soft_offline_page(page.pfn, counted=True)
            if error:
                return error
        return 0

    @seam
    async def soft_offline_page(self, pfn: int, *, counted: bool = False) -> int:
        """Take a frame out of use that may fail soon, its page moved to another one: 0, or -errno, and then nothing has
        changed.

        With `counted` the caller has a reference, which is this function's from now on. Source: soft_offline_page(),
        get_any_page() and __soft_offline_page(), v3.9.
        """
        page = self.pfn_to_page(pfn)
        if self.page_hwpoison(page):
            return await self.known_at_soft_offline(page, counted=counted)
        if not counted and not await page.get_unless_zero():
            await self.test_set_page_hwpoison(page)  # a free frame
            return 0
        if not page.lru:
            await self.lru_add_drain_all()
            self.conductor.touch(YIELD, page, "lru")
        if not page.lru:
            await page.put()
            return -EIO
        await page.lock()
        await self.wait_on_page_writeback(page)
        known = self.page_hwpoison(page)
        await page.unlock()
        if known:
            return await self.known_at_soft_offline(page, counted=True)
        isolated = await self.isolate_lru_page(page)
        await page.put()
        return await self.migrate_off(page) if isolated else -EBUSY

    @part
    async def known_at_soft_offline(self, page: Frame, *, counted: bool) -> int:
        """The result for a frame that has the flag already."""
        if counted:
            await page.put()
        return -EBUSY

    @part
    async def migrate_off(self, page: Frame) -> int:
        """Migrate an isolated page off its frame, best within the node: 0, and the frame has the flag, or -errno.

        v3.9 flags the frame when it has been freed: by then another process may have it.
        """
        result = await self.migrate_pages(page, page.nid, exactly=False)
        if result == 0:
            await self.test_set_page_hwpoison(page)
            self.failure_handled(page, 0)
        return self.soft_offline_error(result)

    @part
    def soft_offline_error(self, result: int) -> int:
        """What a migration's result means to the caller: a page that was in use all the time is an I/O error."""
        return -EIO if result == -EAGAIN else result
