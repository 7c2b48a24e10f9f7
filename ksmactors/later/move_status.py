"""What move_pages(2) answers: as of v6.1, and from about v6.12."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import EAGAIN, EFAULT, ENOENT


class MoveStatus(Ksm):
    """move_pages returns how many pages could not be migrated, and reports holes as -EFAULT; so it does if it
    is only asked where pages are (live_absent_pages)."""

    @override
    def no_page_to_move(self, mm: AddressSpace, address: int) -> int:
        pte = mm.ptes.get(address)
        absent = self.pte_none(mm, address)
        if absent or (pte is not None and pte.frame is self.zero_page):
            return -EFAULT
        return super().no_page_to_move(mm, address)

    @override
    def move_pages_answer(self, status: int) -> tuple[int, int | None]:
        return (1, None) if status == -EAGAIN else super().move_pages_answer(status)


class MoveEnoent(MoveStatus):
    """move_pages has -ENOENT again for an address at which nothing is mapped; of the zero page it is -EFAULT still."""

    @override
    def no_page_to_move(self, mm: AddressSpace, address: int) -> int:
        return super().no_page_to_move(mm, address) if address in mm.ptes else -ENOENT
