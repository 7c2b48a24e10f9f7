"""A repair for the fault half of H4; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import YIELD
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import KSM_RUN_UNMERGE
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapSlot


class RunUnderPteLock(Ksm):
    """A fault tests again whether run=2 is under way just before it maps a KSM page from the swap cache.

    v3.9 asks once, before. A fault that read run as 1 just before 2 was written maps the page behind the back of the
    unmerging, which finds a swap entry there and passes on: the KSM page survives run=2. Unmerging looks at each
    entry under the page table lock and after run was stored, so under that lock the answer cannot be out of date. The
    fault is repeated, and copies.
    """

    @override
    def swap_pte_same(self, mm: AddressSpace, address: int, slot: SwapSlot, page: Frame) -> bool:
        self.conductor.touch(YIELD, self, "ksm_run")
        if page.is_ksm and self.ksm_run & KSM_RUN_UNMERGE:
            return False
        return super().swap_pte_same(mm, address, slot, page)
