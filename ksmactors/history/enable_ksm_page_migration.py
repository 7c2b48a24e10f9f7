"""R4, *ksm: enable KSM page migration*: every caller may migrate KSM pages, not only memory hot-remove.

(The cover letter of the series calls it *mm: enable KSM page migration*. The commit after it, *mm: remove offlining arg
to migrate_pages*, only removed the argument that identified hot-remove.)
"""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import EAGAIN, EBUSY
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware


class BeforeEnableKsmPageMigration(Ksm):
    """KSM pages do not migrate: move_pages does not see them, compaction and balancing are refused.

    Before: move_pages answered -ENOENT for a KSM page. For other callers __unmap_and_move, with the page locked, gave
    up with -EBUSY. Only hot-remove, which held ksm_thread_mutex, went on. It left a page without an anon_vma alone,
    unless it was in the swap cache, because it assumed that its processes had exited. After: no such tests, and KSM
    pages are left out of the handling of anon_vmas.

    What a user saw: memory stayed fragmented around KSM pages. Processes that were moved to another node left theirs
    behind. Memory with a mapped KSM page could not be taken offline. The data were always right, so this is a control;
    what S3, S5 and S6 guard against cannot happen without this commit.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self._offlining: Actor | None = None

    @override
    async def page_to_move(self, mm: AddressSpace, address: int) -> Frame | None:
        page = await super().page_to_move(mm, address)
        if page is not None and page.is_ksm:
            await page.put()
            return None
        return page

    @override
    async def migrate_away(self, page: Frame) -> None:
        self._offlining = self.conductor.turn  # one at a time: the memory hotplug lock is held
        await super().migrate_away(page)
        self._offlining = None

    @override
    async def move_locked(self, page: Frame, new: Frame, force: bool) -> int:
        if page.is_ksm and self._offlining is not self.conductor.turn:
            return -EBUSY
        if page.is_ksm and page.swap is None:
            return -EAGAIN
        return await super().move_locked(page, new, force)
