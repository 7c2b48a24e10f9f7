"""S1, *ksm: trivial tidyups*: a new node is filled before it is linked."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.index import ContentTree, InsertPosition
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.frame import Frame


class BeforeTrivialTidyups(Ksm):
    """A new stable node is linked into its tree first, and filled afterwards.

    Before: stable_tree_insert linked and rebalanced as soon as it had the memory. Only then it set the node's list of
    items and kpfn, and had the page name the node. After: the other way round, as the unstable tree had it. The rest of
    the commit is about what is compiled where (NUMA or not), and the signs of some integers.

    What a user saw: nothing, with either order. Trees are walked under ksm_thread_mutex, which ksmd holds. Migration
    and reclaim reach the node through the page, and wait for its lock, which ksmd holds as well. Only the check after
    memory has gone offline walks a tree without the mutex, and ksmd is shut out then. Hence a control: if a watcher
    reports this, the watcher or the locks of the emulator are wrong.
    """

    @override
    async def add_new_node(
        self, root: ContentTree[StableNode], node: StableNode, place: InsertPosition, kpage: Frame
    ) -> None:
        await self.stable_tree_link(root, node, place, kpage.content)
        node.kpfn = kpage.pfn
        node.nid = root.nid
        await kpage.set_mapping(node.mapping)
