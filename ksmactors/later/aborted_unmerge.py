"""A repair for H3; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem


class AbortedUnmerge(Ksm):
    """An item is taken out of the unstable tree only if it is in the tree there is now.

    A run=2 that fails half-way puts the cursor back to the start but does not count the scan. The next one resets the
    trees under the same number, so items of the aborted scan look as if they were in them: v3.9 erases them from a
    tree that does not hold them.
    """

    @override
    async def unstable_tree_erase(self, item: RmapItem) -> None:
        if self.root_unstable_tree[item.nid].has(item):
            await super().unstable_tree_erase(item)
