"""S5, *ksm: make KSM page migration possible*: a stable node is told from one whose page is on its way."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.frame import Frame


class BeforeKsmPageMigration(Ksm):
    """Looking up the page of a stable node treats a page under migration as gone.

    Before: only memory hot-remove migrated KSM pages, with ksm_thread_mutex held, so that nobody could be looking.
    ksm_migrate_page stored the new frame number and nothing else. get_ksm_page took a mapping that does not name the
    node, or a page without references, as proof that the node is stale, and freed it. A search returned the page that
    it had compared, with a reference and no more. After: get_ksm_page reads kpfn again before it frees, and waits
    while a page of the swap cache is frozen; ksm_migrate_page has the old page forget the node, after kpfn, with a
    barrier between; a search cycles the lock of the page that it has found, so that a migration is either over or
    sees the reference. (That kpfn is written before the old page leaves the swap cache was so already; a comment now
    says that it must be.)

    What a user would have seen with migration for all: ksmd reads kpfn of a node, P; a migration makes Q its page; ksmd
    finds that P does not name the node and frees it. Q, mapped by everybody, names freed memory: reclaim or the next
    migration walks it. Or: ksmd finds a page equal to P, migration has counted the references of P just before; ksmd
    merges the page into P, which is no KSM page any more when it asks P for its node: an oops in stable_tree_append.

    The search kept the reference of its only look. Here it looks a second time, and does not lock: what may happen
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
