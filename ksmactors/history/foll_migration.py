"""R1, *mm,ksm: FOLL_MIGRATION do migration_entry_wait*: unmerging waits for a page that is under migration."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame


class BeforeFollMigration(Ksm):
    """Unmerging takes a migration entry for a hole, and goes on.

    Before: break_ksm asked follow_page for the page at an address, and was told that there is none while the page was
    being migrated. After: with a new flag, follow_page waits for the end of the migration and looks again.

    What a user saw: the warning of remove_stable_node that a page is still mapped, soon after KSM pages could migrate.
    A migration has put migration entries in the place of A's and B's mappings of a KSM page; run=2 comes to A, finds no
    page, and waits for the page lock to take A's rmap_item off its node; the migration puts the page back and unlocks
    it; the rmap_item is freed. A maps a KSM page that no rmap_item leads to, and merge_across_nodes is busy for as long
    as it does. MADV_UNMERGEABLE and mremap pass by in the same way; after
    mremap the entry is at an address where the end of the migration does not look for it: whoever touches it hangs, or
    runs into a BUG.
    """

    @override
    async def page_to_break(self, mm: AddressSpace, address: int) -> Frame | None:
        return await self.follow_page(mm, address)
