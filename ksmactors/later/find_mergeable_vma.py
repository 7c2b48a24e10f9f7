"""The repair of G2 (H6), v4.4 (85c6e8dd2390)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.mm.address_space import Vma


class FindMergeableVma(Ksm):
    """Merging requires a mergeable vma with an anon_vma, instead of any vma at the address.

    v3.9 takes any. ksmd holds a KSM page that it reached through a fork; the process unmaps the address and maps it
    again without touching it; ksmd finds the new vma, has nothing to replace, and takes a reference on its anon_vma,
    which does not exist.
    """

    @override
    def find_vma_to_merge(self, item: RmapItem) -> Vma | None:
        if super().find_vma_to_merge(item) is None:
            return None
        vma = self.find_mergeable_vma(item.mm, item.address)
        if vma is None:
            self.race(ev.RACE_VMA_GONE, item.mm.name, None)
        return vma
