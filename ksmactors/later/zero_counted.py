"""KSM's own zero pages are known and counted, v6.6 (1a8e84305783)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from typing_extensions import override

from ksmactors.later.unshare_fault import UnshareFault
from ksmactors.later.zero_pages import ZeroPages
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.seams import seam


class ZeroCounted(UnshareFault, ZeroPages):
    """A zero page that KSM has put in place of a page is distinguished from others, counted, and removed by unmerging.

    The dirty bit of its entry marks it: only ksmd sets it there. MADV_UNMERGEABLE and run=2 then give the process a
    page of its own again. At fork the child gets its parent's number; the sum grows only if the parent is registered.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.ksm_zero_pages = 0
        self.mm_zero_pages: Counter[int] = Counter()
        """Of each address space, by its number."""

    @seam
    def is_ksm_zero_pte(self, pte: Pte | None) -> bool:
        """Whether an entry maps the zero page because KSM has put it there."""
        return pte is not None and pte.dirty and pte.frame is self.zero_page

    @override
    def placed_by_ksm(self, pte: Pte) -> bool:
        return self.is_ksm_zero_pte(pte) or super().placed_by_ksm(pte)

    @override
    async def map_kpage(self, mm: AddressSpace, kpage: Frame) -> Pte:
        pte = await super().map_kpage(mm, kpage)
        if kpage is not self.zero_page:
            return pte
        self.ksm_zero_pages += 1
        self.mm_zero_pages[mm.number] += 1
        return pte._replace(dirty=True)

    @override
    async def set_pte(self, mm: AddressSpace, address: int, pte: Pte | None) -> Pte | None:
        before = await super().set_pte(mm, address, pte)
        if self.is_ksm_zero_pte(before):
            self.ksm_zero_pages -= 1
            self.mm_zero_pages[mm.number] -= 1
        return before

    @override
    async def ksm_fork(self, mm: AddressSpace, oldmm: AddressSpace) -> int:
        inherited = self.mm_zero_pages[mm.number] = self.mm_zero_pages[oldmm.number]
        if oldmm.registered:
            self.ksm_zero_pages += inherited
        return await super().ksm_fork(mm, oldmm)

    @override
    def ksm_stat(self, mm: AddressSpace) -> dict[str, int | str]:
        return super().ksm_stat(mm) | {"zero_pages": self.mm_zero_pages[mm.number]}

    @override
    def sysfs_files(self) -> dict[str, bool]:
        return super().sysfs_files() | {"ksm_zero_pages": False}

    @override
    def sysfs_values(self) -> dict[str, Callable[[], int | str]]:
        return super().sysfs_values() | {"ksm_zero_pages": lambda: self.ksm_zero_pages}
