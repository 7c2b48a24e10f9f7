"""Mutants of what keeps secondary mappings true (X10a to X10d)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import EFAULT
from ksmactors.mm.frame import Frame
from ksmactors.mm.secondary import SecondaryMmu


class ProtectionNotAnnounced(Ksm):
    """write_protect_page does not announce that it changes an entry (X10a)."""

    @override
    async def write_protect_page(self, vma: Vma, page: Frame) -> tuple[int, Pte | None]:
        address = self.page_address_in_vma(page, vma)
        return (-EFAULT, None) if address is None else await self.write_protect_entry(vma.mm, page, address)


class FaultLooksOnce(Ksm):
    """A fault of a guest maps the page that it has found, whatever was invalidated meanwhile (X10b)."""

    @override
    def mmu_notifier_retry(self, kvm: SecondaryMmu, seq: int) -> bool:
        super().mmu_notifier_retry(kvm, seq)
        return False


class ReplacementNotAnnounced(Ksm):
    """replace_page does not announce that it changes an entry (X10c)."""

    @override
    async def replace_page_at(self, vma: Vma, address: int, page: Frame, kpage: Frame, expected: Pte) -> int:
        return await self.replace_entry(vma.mm, address, page, kpage, expected)


class AnnouncedTwice(Ksm):
    """Each announcement is made twice (X10d)."""

    @override
    async def mmu_notifier_invalidate_range_start(self, mm: AddressSpace, start: int, end: int) -> None:
        await super().mmu_notifier_invalidate_range_start(mm, start, end)
        await super().mmu_notifier_invalidate_range_start(mm, start, end)

    @override
    async def mmu_notifier_invalidate_range_end(self, mm: AddressSpace, start: int, end: int) -> None:
        await super().mmu_notifier_invalidate_range_end(mm, start, end)
        await super().mmu_notifier_invalidate_range_end(mm, start, end)
