"""S3, *ksm: get_ksm_page locked*: who waits for a page's lock looks once more whether it is still the node's page."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.frame import Frame


class BeforeGetKsmPageLocked(Ksm):
    """Callers that need the page of a stable node locked lock the result of get_ksm_page, without another check.

    Before: get_ksm_page returned a page with a reference. The one caller that needed it locked, the removal of an
    rmap_item, took the lock itself. (Its checks stood in an RCU read section by mistake; that was removed, too, and has
    no visible effect.) After: an argument asks for the lock, and the mapping is compared once more under the lock.

    What a user saw: nothing as long as KSM pages did not migrate. Once they do: ksmd gets a reference on frame P
    through the node, after the migration of P has counted the references. It waits for the lock of P, which the
    migration holds. The migration makes Q the node's page and unlocks P. ksmd now holds the lock of a frame that no
    node uses. If it removes an item, it changes the node's hlist while another actor, with the lock of Q, walks it. If
    it searches, it merges the current page into P, and stable_tree_append finds no node there: an oops.
    """

    @override
    async def get_ksm_page(self, node: StableNode, *, lock: bool) -> Frame | None:
        page = await super().get_ksm_page(node, lock=False)
        if page is not None and lock:
            await page.lock()
        return page
