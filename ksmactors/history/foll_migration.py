"""R1, *mm,ksm: FOLL_MIGRATION do migration_entry_wait*: unmerging waits for a page that is under migration."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame


class BeforeFollMigration(Ksm):
    """Unmerging takes a migration entry for a hole, and skips it.

    Before: break_ksm asked follow_page for the page at an address. During a migration of the page, follow_page found
    none. After: with a new flag, follow_page waits for the end of the migration and looks again.

    What a user saw: the warning of remove_stable_node that a page is still mapped, soon after KSM pages could migrate.

    1. A migration replaces A's and B's mappings of a KSM page by migration entries.
    2. run=2 finds no page at A's address, and waits for the page lock to take A's rmap_item off its node.
    3. The migration restores the mappings and unlocks the page. The rmap_item is freed.
    4. A maps a KSM page that no rmap_item leads to. As long as it does, merge_across_nodes is busy.

    MADV_UNMERGEABLE and mremap skip the entry in the same way. After mremap the entry is at an address where the end of
    the migration does not look for it: an access to it hangs, or runs into a BUG.
    """

    @override
    async def page_to_break(self, mm: AddressSpace, address: int) -> Frame | None:
        return await self.follow_page(mm, address)
