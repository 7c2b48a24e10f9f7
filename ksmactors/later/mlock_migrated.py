"""A page that is locked in memory stays Mlocked when it is migrated, v4.4 (51afb12ba809)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Vma
from ksmactors.mm.frame import Frame


class MlockMigrated(Ksm):
    """A migrated page is marked as Mlocked when it is mapped in a VM_LOCKED vma (remove_migration_pte).

    From v3.7 on the mark went with the last mapping of the old page, before the migration could hand it over. The new
    page was on the lists of reclaim, until the next reclaim came to its vma and put that right. Whether the vma is
    VM_LOCKED is asked under the page table lock: a munlock clears that first, and then takes the same lock to come to
    the page, so it finds the mark that was set before.
    """

    @override
    def page_add_migrated_rmap(self, new: Frame, vma: Vma) -> None:
        super().page_add_migrated_rmap(new, vma)
        if vma.locked:
            new.node.mark_mlocked(new, True)
