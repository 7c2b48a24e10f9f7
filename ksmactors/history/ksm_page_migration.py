"""S5, *ksm: make KSM page migration possible*: a stable node whose page is under migration is not taken for stale."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.frame import Frame


class BeforeKsmPageMigration(Ksm):
    """Looking up the page of a stable node treats a page under migration as gone.

    Before: only memory hot-remove migrated KSM pages, with ksm_thread_mutex held, so that no lookup could run.
    ksm_migrate_page stored the new frame number and nothing else. get_ksm_page took a mapping that does not name the
    node, or a page without references, as proof that the node is stale, and freed it. A search returned the page that
    it had compared, with just a reference.

    After: get_ksm_page reads kpfn again before it frees, and waits while a page of the swap cache is frozen.
    ksm_migrate_page clears the old page's mapping after it writes kpfn, with a barrier between. A search locks and
    unlocks the page that it has found, so that a migration is either over or sees the reference. (kpfn was already
    written before the old page left the swap cache; a comment now says that it must be.)

    What a user would have seen with migration by all callers: ksmd reads kpfn of a node, P. A migration makes Q its
    page. ksmd finds that P does not name the node and frees it. Q, which is still mapped, names freed memory: reclaim
    or the next migration walks it. Or: ksmd finds a page equal to P, just after a migration has counted the references
    of P. ksmd merges the page into P, which is no KSM page any more when ksmd reads its node: an oops in
    stable_tree_append.

    The search kept the reference of its only lookup. Here it looks up a second time, and does not lock: what may happen
    between the two could as well have happened just before the only one.
    """

    @override
    async def page_has_moved(self, node: StableNode, seen: tuple[int, ...]) -> bool:
        return False

    @override
    async def get_when_unfrozen(self, page: Frame, node: StableNode) -> bool:
        return False

    @override
    async def second_look(self, node: StableNode) -> Frame | None:
        return await self.get_ksm_page(node, lock=False)

    @override
    async def ksm_migrate_page(self, newpage: Frame, oldpage: Frame) -> None:
        node = newpage.stable_node
        if isinstance(node, StableNode):
            await self.write_kpfn(node, newpage.pfn)
            self.emit(ev.KSM_MIGRATE_PAGE, node.number, newpage.pfn, oldpage.pfn, newpage.nid, node.nid)
