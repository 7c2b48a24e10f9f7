"""Ideas for mm/ksm.c whose effect is known."""

from __future__ import annotations

from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.mm.frame import Frame


class Identity(Ksm):
    """Overrides a function and calls it."""

    async def unstable_tree_search_insert(self, item: RmapItem, page: Frame) -> tuple[RmapItem, Frame] | None:
        return await super().unstable_tree_search_insert(item, page)


class LooksTwice(Ksm):
    """The page of each entry of the unstable tree is looked up twice."""

    async def visit_unstable_entry(self, entry: RmapItem, page: Frame, nid: int) -> Frame | None:
        found = await super().visit_unstable_entry(entry, page, nid)
        if found is None:
            return None
        await found.put()
        return await super().visit_unstable_entry(entry, page, nid)


class MergesNothing(Ksm):
    """No page is found equal to another one."""

    async def unstable_tree_search_insert(self, item: RmapItem, page: Frame) -> tuple[RmapItem, Frame] | None:
        return None


class Raises(Ksm):
    """Has a mistake, which shows when a scan begins."""

    def reset_unstable_root(self, root: ContentTree[RmapItem]) -> None:
        raise ZeroDivisionError("by design")


class Loses(Ksm):
    """Does not check that a page has stayed as it was."""

    async def replace_page_at(self, vma, address, page, kpage, expected):  # type: ignore[no-untyped-def]
        result = await super().replace_page_at(vma, address, page, kpage, expected)
        if result == 0:
            await kpage.put()
        return result
