"""Whether a process has anything to merge, in /proc/PID/ksm_stat; by v6.18."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.later.merge_any import MergeAny
from ksmactors.mm.address_space import AddressSpace


class PerMmMergeable(MergeAny):
    """Each process shows whether all it maps is to be merged, and whether any of it is now."""

    @override
    def ksm_stat(self, mm: AddressSpace) -> dict[str, int | str]:
        return super().ksm_stat(mm) | {
            "merge_any": _yes(self.merges_any(mm)),
            "mergeable": _yes(any(vma.mergeable for vma in mm.vmas.values())),
        }


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"
