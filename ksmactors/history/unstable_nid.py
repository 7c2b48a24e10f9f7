"""R3, *ksm: treat unstable nid like in stable tree*: a page on another node may be passed by, but not merged with."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.mm.frame import Frame


class BeforeUnstableNid(Ksm):
    """With merge_across_nodes=0, a search of the unstable tree gives up at the first page that has moved away.

    Before: a page that has been migrated to another node since it was linked ended every search that reached it, before
    it was even compared. After: it is compared, as one in a stable tree is, and ends the search only if it is equal.

    What a user saw: less merging for the rest of that scan. A page whose path leads past the migrated page is neither
    merged nor inserted. The next scan begins with empty trees, and links the page where it belongs.
    """

    @override
    async def visit_unstable_entry(self, entry: RmapItem, page: Frame, nid: int) -> Frame | None:
        tree_page = await super().visit_unstable_entry(entry, page, nid)
        if tree_page is None or self.get_kpfn_nid(tree_page.pfn) == nid:
            return tree_page
        self.race(ev.RACE_UNSTABLE_MOVED, "unknown", tree_page, tree="unstable", tree_nid=nid)
        await tree_page.put()
        return None
