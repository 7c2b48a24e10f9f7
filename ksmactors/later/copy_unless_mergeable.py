"""A repair for H4b; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Vma
from ksmactors.mm.frame import Frame


class CopyUnlessMergeable(Ksm):
    """A KSM page that comes back from the swap cache is mapped as such only where ksmd may merge.

    A page is swapped out, its process takes the advice back: nothing is present that could be unmerged. When the
    process touches it next, v3.9 maps the KSM page that is still in the swap cache. Neither ksmd nor run=2 ever visits
    such an area, so that mapping gets no rmap_item and stays for good: the page can be neither migrated nor reclaimed,
    and merge_across_nodes is busy.
    """

    @override
    async def may_be_mapped_as_it_is(self, page: Frame, vma: Vma, address: int) -> bool:
        if page.is_ksm and not vma.mergeable:
            return False
        return await super().may_be_mapped_as_it_is(page, vma, address)
