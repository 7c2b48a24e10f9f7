"""A migration entry remembers the dirty bit, v6.1 (2e3468778dbe). Recording: guest migrated_dirty."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Pte


class DirtyMigration(Ksm):
    """An entry that was dirty before its page was unmapped to be migrated is dirty again afterwards, moved or not.

    Before, the page alone was dirty then. To ksmd that makes a difference: it counts the references of a page if it has
    to take write permission or the dirty bit from its entry. So it merged a pinned page, if its migration, which fails
    because of the pin, had left the entry read-only and clean; now it leaves such a page alone. Only processors with
    enough bits in a swap entry do so (migration_entry_supports_ad), such as those of x86-64.
    """

    @override
    async def set_pte(self, mm: AddressSpace, address: int, pte: Pte | None) -> Pte | None:
        """make_migration_entry_dirty, and what remove_migration_pte makes of it."""
        before = await super().set_pte(mm, address, pte)
        if pte is None or before is None or not before.dirty or before.migration is pte.migration:
            return before
        if pte.migration or pte.frame.dirty:
            mm.ptes[address] = pte._replace(dirty=True)
        return before
