"""Chains and dups of stable nodes: the structures, linking and unlinking, counters and knobs (v4.13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import WRITE
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.ksm.sysfs import UINT_MAX
from ksmactors.later.kstrtox import kstrtoint, unsigned
from ksmactors.mm.const import EBUSY, EINVAL
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.reports import misuse
from ksmactors.seams import seam


class DupNode(StableNode):
    """A stable node that can be a dup: then `chain` is set, and lies over the tree links.

    `rmap_hlist_len` is the number of items on its hlist.
    """

    __slots__ = ("chain", "rmap_hlist_len")

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.chain: Chain | None = None
        self.rmap_hlist_len = 0

    @override
    def hlist_add_head(self, item: RmapItem) -> None:
        super().hlist_add_head(item)
        self.rmap_hlist_len += 1

    @override
    def hlist_del(self, item: RmapItem) -> None:
        super().hlist_del(item)
        self.rmap_hlist_len -= 1


class Chain(StableNode):
    """A tree entry that stands for all nodes with one content, its `dups`, latest first. It has no page and no items.

    `chain_prune_time` is when it was last pruned, in virtual nanoseconds. The kernel's chains have no nid: the
    function that frees one knows the tree.
    """

    __slots__ = ("chain_prune_time", "dups")

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.kpfn = -1
        self.dups: list[DupNode] = []
        self.chain_prune_time = 0

    @override
    def __repr__(self) -> str:
        return f"<Chain {self.number} of {len(self.dups)}>"


def dup_of(node: StableNode) -> DupNode:
    """A node that is no chain, as what it is in these kernels."""
    assert isinstance(node, DupNode), "every stable node of this kernel that is no chain has room for a chain's links"
    return node


class ChainNodes(Ksm):
    """Everything about chains but the decisions: see `chains`."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.ksm_max_page_sharing = 256
        self.ksm_stable_node_chains_prune_millisecs = 2000
        self.stable_node_chains = 0
        self.stable_node_dups = 0

    @override
    def new_stable_node(self, number: int) -> StableNode:
        return DupNode(number)

    @seam
    def new_stable_node_chain(self) -> Chain | None:
        """A new chain; None when there is no memory (never, without fault injection)."""
        if self.inject("alloc_stable_node_chain"):
            return None
        self.nodes_allocated += 1
        chain = Chain(self.nodes_allocated)
        self.chain_from_slab(chain)
        return chain

    @seam
    def is_page_sharing_candidate(self, node: DupNode, offset: int = 0) -> bool:
        """Whether `offset` items more leave room for one; never on an empty node."""
        return node.rmap_hlist_len > 0 and node.rmap_hlist_len + offset < self.ksm_max_page_sharing

    @override
    def nodes_of(self, root: ContentTree[StableNode]) -> Iterator[StableNode]:
        for entry in root:
            if isinstance(entry, Chain):
                yield from entry.dups
            else:
                yield entry

    @override
    async def stable_tree_erase(self, node: StableNode) -> None:
        """A dup leaves its chain, which stays, even if it is empty now; a plain node leaves the tree."""
        dup = dup_of(node)
        chain = dup.chain
        if chain is None:
            await super().stable_tree_erase(node)
            return
        await self.conductor.point(WRITE, chain, "hlist")
        chain.must_be_alive()
        chain.dups.remove(dup)
        dup.chain = None
        self.stable_node_dups -= 1

    @seam
    async def stable_node_chain_add_dup(self, node: DupNode, chain: Chain) -> None:
        """Put a node that is in no tree to the front of a chain."""
        await self.conductor.point(WRITE, chain, "hlist")
        chain.must_be_alive()
        if node.migrating:
            raise misuse("union_misuse", f"{node} goes on {chain} while it is on migrate_nodes", node)
        node.nid = chain.nid
        node.chain = chain
        chain.dups.insert(0, node)
        self.stable_node_dups += 1
        self.emit(ev.STABLE_NODE_CHAIN_ADD_DUP, node.number, node.kpfn, chain.number)

    @override
    async def stable_node_to_migrate_nodes(self, node: StableNode) -> None:
        """The links of a chain's list lie where those of migrate_nodes are, too."""
        if dup_of(node).chain is not None:
            raise misuse("union_misuse", f"{node} goes on migrate_nodes while it is on a chain", node)
        await super().stable_node_to_migrate_nodes(node)

    @seam
    async def alloc_stable_node_chain(self, root: ContentTree[StableNode], node: DupNode) -> Chain | None:
        """A chain takes the place of a plain node, which becomes its first dup.

        None: no memory.
        """
        chain = self.new_stable_node_chain()
        if chain is None:
            return None
        chain.nid = root.nid
        chain.chain_prune_time = self.conductor.now
        await self._replace_entry(root, node, chain)
        self.stable_node_chains += 1
        self.emit(ev.ALLOC_STABLE_NODE_CHAIN, chain.number, root.nid)
        await self.stable_node_chain_add_dup(node, chain)
        return chain

    async def _collapse(self, root: ContentTree[StableNode], chain: Chain, dup: DupNode) -> None:
        """The only dup of a chain takes its place in the tree."""
        await self.stable_tree_erase(dup)
        await self._replace_entry(root, chain, dup)
        self._free_chain(chain)

    @seam
    async def free_stable_node_chain(self, root: ContentTree[StableNode], chain: Chain) -> None:
        """An empty chain leaves the tree."""
        await self.conductor.point(WRITE, root)
        root.unlink(chain, self.ksm_epoch)
        self._free_chain(chain)

    async def _replace_entry(self, root: ContentTree[StableNode], entry: StableNode, by: StableNode) -> None:
        if isinstance(by, DupNode) and by.chain is not None:
            raise misuse("union_misuse", f"{by} is linked into a tree while it is on {by.chain}", by)
        await self.conductor.point(WRITE, root)
        root.replace(entry, by)
        self.ksm_epoch += 1  # the indices know nothing of replacements

    def _free_chain(self, chain: Chain) -> None:
        self.stable_node_chains -= 1
        self.free_stable_node(chain)
        self.emit(ev.FREE_STABLE_NODE_CHAIN, chain.number, chain.nid)

    @override
    async def check_stable_entry(self, node: StableNode, pfns: range) -> bool:
        """Of a chain: every dup whose page was in the range goes; and the chain, if it is empty then or was before."""
        if not isinstance(node, Chain):
            return await super().check_stable_entry(node, pfns)
        for dup in list(node.dups):
            if dup.kpfn in pfns:
                await self.remove_node_from_stable_tree(dup)
        if node.dups:
            return False
        await self.free_stable_node_chain(self.root_stable_tree[node.nid], node)
        return True

    # -- sysfs --------------------------------------------------------------------------------------------------------

    @override
    def sysfs_files(self) -> dict[str, bool]:
        return super().sysfs_files() | {
            "max_page_sharing": True,
            "stable_node_chains": False,
            "stable_node_dups": False,
            "stable_node_chains_prune_millisecs": True,
        }

    @override
    def sysfs_values(self) -> dict[str, Callable[[], int | str]]:
        return super().sysfs_values() | {
            "max_page_sharing": lambda: self.ksm_max_page_sharing,
            "stable_node_chains": lambda: self.stable_node_chains,
            "stable_node_dups": lambda: self.stable_node_dups,
            "stable_node_chains_prune_millisecs": lambda: self.ksm_stable_node_chains_prune_millisecs,
        }

    @override
    async def knob_store(self, knob: str, text: str) -> int:
        if knob == "max_page_sharing":
            return await self.max_page_sharing_store(text)
        if knob == "stable_node_chains_prune_millisecs":
            value = unsigned(text, UINT_MAX)
            if value >= 0:
                await self.conductor.point(WRITE, self, knob)
                self.ksm_stable_node_chains_prune_millisecs = value
            return min(value, 0)
        return await super().knob_store(knob, text)

    @seam
    async def max_page_sharing_store(self, text: str) -> int:
        """max_page_sharing: can change only while nothing is shared and no stable node is left; else -EBUSY."""
        failed, value = kstrtoint(text)
        if failed:
            return failed
        if value < 2:
            return -EINVAL
        await self.ksm_thread_mutex.lock()
        result = 0
        if self.ksm_max_page_sharing != value:
            if self.ksm_pages_shared or await self.remove_all_stable_nodes():
                result = -EBUSY
            else:
                self.ksm_max_page_sharing = value
        await self.ksm_thread_mutex.unlock()
        return result
