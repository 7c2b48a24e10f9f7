"""State and small helpers of mm/ksm.c."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from ksmactors.interleave.actor import READ, RELEASE, WRITE, YIELD, Actor
from ksmactors.interleave.locks import Mutex, SpinLock, WaitQueue
from ksmactors.ksm.index import ContentTree
from ksmactors.ksm.instrumented import Instrumented, instrumented_kernel
from ksmactors.ksm.internal import KsmDeclarations
from ksmactors.ksm.structs import FREED, KSM_RUN_MERGE, KSM_RUN_STOP, KsmScan, MmSlot, RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.frame import Frame, KsmMapping
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.reports import misuse
from ksmactors.seams import seam

T = TypeVar("T")

NODE_NEWS: Final = ("hlist", "freed", "kept", "checked", "listed", "unlisted")
"""What observers are notified of, for a stable node: its hlist is about to change; it has just been freed; it was to be
removed and is kept since its page is mapped; memory hot-remove is about to look at it; it has come onto migrate_nodes,
or has left that list."""


class KsmCore(KsmDeclarations):
    """The common state of mm/ksm.c: locks, trees, the list of address spaces, the cursor, counters, knobs.

    `ksm_thread_mutex` protects all of it except `mm_slots_hash`, the list of slots and writes of `ksm_scan.mm_slot`
    (`ksm_mmlist_lock`), and the two plain knobs (no lock).
    """

    __slots__ = (
        "_declared", "items_allocated", "ksm_mm_head", "ksm_scan", "ksmd_actor", "kthread_should_stop", "mm_slots_hash",
        "node_listeners", "nodes_allocated", "nodes_freed", "roots_allocated", "warned_of",
    )  # fmt: skip
    """What is no variable of mm/ksm.c, or a structure that stays the same one; see `MmCore`."""

    kernel_name = "v3.9"

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.ksm_thread_mutex: Final = Mutex(self.conductor, "ksm_thread_mutex")
        self.ksm_mmlist_lock: Final = SpinLock(self.conductor, "ksm_mmlist_lock")
        self.ksm_thread_wait: Final = WaitQueue(self.conductor, "ksm_thread_wait", idle=True)
        self.ksm_mm_head: Final = MmSlot(None)
        self.mm_slots_hash: Final[dict[int, MmSlot]] = {}
        self.ksm_scan: Final = KsmScan(self.ksm_mm_head)
        nids = range(len(self.nodes))
        self.root_stable_tree: Final[list[ContentTree[StableNode]]] = [
            ContentTree("root_stable_tree", nid) for nid in nids
        ]
        self.root_unstable_tree: Final[list[ContentTree[RmapItem]]] = [
            ContentTree("root_unstable_tree", nid) for nid in nids
        ]
        self.migrate_nodes: Final[list[StableNode]] = []
        self.ksm_run = KSM_RUN_STOP
        self.ksm_merge_across_nodes = 1
        self.ksm_nr_node_ids = 1
        self.roots_allocated = False
        """Whether there are tree roots for more than one node: since merge_across_nodes was first 0."""
        self.ksm_thread_pages_to_scan = 100
        self.ksm_thread_sleep_millisecs = 20
        self.ksm_pages_shared = 0
        self.ksm_pages_sharing = 0
        self.ksm_pages_unshared = 0
        self.ksm_rmap_items = 0
        self.pages_scanned = 0
        """Pages that ksmd has come to; v3.9 does not count them, its recordings do."""
        self.ksmd_actor: Actor | None = None
        self.kthread_should_stop = False
        self._declared: Instrumented | None = None
        self.warned_of: object = None
        """For observers: what the kernel's last warning is about."""
        self.items_allocated = 0
        self.nodes_allocated = 0
        self.nodes_freed = 0
        self.node_listeners: Final[dict[str, list[Callable[[StableNode], None]]]] = {what: [] for what in NODE_NEWS}
        """Called with a stable node, at once, by what there is to tell of it."""

    @property
    @seam
    def pages_volatile(self) -> int:
        """rmap_items in neither tree; the kernel shows a negative number as 0."""
        return max(0, self.ksm_rmap_items - self.ksm_pages_shared - self.ksm_pages_sharing - self.ksm_pages_unshared)

    # -- allocation -------------------------------------------------------------------------------------------

    @seam
    def alloc_rmap_item(self, mm: AddressSpace, address: int) -> RmapItem | None:
        """A new, volatile item; None when there is no memory (never, without fault injection)."""
        if self.inject("alloc_rmap_item"):
            return None
        self.items_allocated += 1
        self.ksm_rmap_items += 1
        return self.as_instrumented(self.new_rmap_item(self.nodes[0].shared(self.items_allocated), mm, address))

    @seam
    def new_rmap_item(self, number: int, mm: AddressSpace, address: int) -> RmapItem:
        """The structure itself, with the fields that this kernel has."""
        return RmapItem(number, mm, address)

    @seam
    def free_rmap_item(self, item: RmapItem) -> None:
        """Free an item that is on no list and in no tree."""
        item.must_be_alive()
        self.ksm_rmap_items -= 1
        item.flag = FREED

    @seam
    def alloc_stable_node(self) -> StableNode | None:
        """A new node, in no tree; None when there is no memory (never, without fault injection)."""
        if self.inject("alloc_stable_node"):
            return None
        self.nodes_allocated += 1
        number = self.nodes_allocated
        return self.as_instrumented(self.node_from_slab(number) or self.new_stable_node(number))

    @seam
    def node_from_slab(self, number: int) -> StableNode | None:
        """The structure that a new node is to be, where another one was; None: memory that was never used."""
        return None

    @seam
    def new_stable_node(self, number: int) -> StableNode:
        """The structure itself, with the fields that this kernel has."""
        return StableNode(number)

    @seam
    def chain_from_slab(self, chain: StableNode) -> None:
        """A chain, where there are any, has got memory from the slab of the stable nodes."""

    @seam
    def free_stable_node(self, node: StableNode) -> None:
        """Free a node that is in no tree and on no list."""
        node.must_be_alive()
        self.conductor.touch(RELEASE, node, "alive")
        node.alive = False
        self.nodes_freed += 1
        self._tell("freed", node)

    @seam
    def free_mm_slot(self, slot: MmSlot) -> None:
        """Free a slot that has left hash and list."""
        slot.must_be_alive()
        slot.alive = False

    # -- helpers ------------------------------------------------------------------------------------------------

    @seam
    def ksm_test_exit(self, mm: AddressSpace) -> bool:
        """Whether the last user of the page tables has gone. Tested after each acquisition of mmap_sem."""
        mm.must_be_alive()
        self.conductor.touch(YIELD, mm, "users")
        return mm.users == 0

    @seam
    def get_kpfn_nid(self, kpfn: int) -> int:
        """Index of the tree for a frame number: its node, or 0 while merging across nodes."""
        return 0 if self.ksm_merge_across_nodes else kpfn // self.frames_per_node

    def _find_vma(self, mm: AddressSpace, address: int) -> Vma | None:
        """The first vma that ends above an address. mmap_sem is held, and the last user has not gone."""
        self.conductor.touch(READ, mm, "vmas")
        return mm.find_vma(address)

    @seam
    async def read_ksm_run(self) -> int:
        """An unlocked read of ksm_run."""
        await self.conductor.point(READ, self, "ksm_run")
        return self.ksm_run

    @seam
    async def page_stable_node(self, page: Frame) -> StableNode | None:
        """The node that a page's mapping names at this instant, or None."""
        mapping = await page.read_mapping()
        if not isinstance(mapping, KsmMapping):
            return None
        node = mapping.stable_node
        return node if isinstance(node, StableNode) else None

    # -- migrate_nodes ------------------------------------------------------------------------------------------

    @seam
    async def stable_node_to_migrate_nodes(self, node: StableNode) -> None:
        """list_add at the front; the node has left its tree, whose links lie where the list's are."""
        await self.conductor.point(WRITE, self, "migrate_nodes")
        if node.rb_tree is not None:
            raise misuse("union_misuse", f"{node} goes on migrate_nodes while it is linked in a tree", node)
        node.migrating = True
        self.migrate_nodes.insert(0, node)
        self._tell("listed", node)

    @seam
    async def stable_node_from_migrate_nodes(self, node: StableNode) -> None:
        """list_del, before the node is linked into a tree or freed."""
        await self.conductor.point(WRITE, self, "migrate_nodes")
        if not node.migrating:
            raise misuse("list_del_of_nonmember", f"{node} is taken off migrate_nodes, where it is not", node)
        node.migrating = False
        self.migrate_nodes.remove(node)
        self._tell("unlisted", node)

    @seam
    async def stable_tree_erase(self, node: StableNode) -> None:
        """rb_erase from the tree whose index was stored at insertion, wherever the page is by now."""
        root = self.root_stable_tree[node.nid]
        await self.conductor.point(WRITE, root)
        root.unlink(node, self.ksm_epoch)

    @seam
    def nodes_of(self, root: ContentTree[StableNode]) -> Iterator[StableNode]:
        """The stable nodes of a tree in the order of their content, for observers."""
        return iter(root)

    # -- what the emulator knows and the kernel does not ---------------------------------------------------------

    def declare_fields(self) -> None:
        """From now on the structures tell those who observe of every access (see `instrumented`)."""
        if self._declared is not None:
            return
        declared = self._declared = Instrumented(self.conductor, type(self))
        for structure in (self.ksm_scan, self.ksm_mm_head, *self.root_stable_tree, *self.root_unstable_tree):
            declared.of(structure)
        plain: type = type(self)
        self.__class__ = instrumented_kernel(plain)

    def as_instrumented(self, structure: T) -> T:
        """Return a new structure, instrumented if observers need that."""
        return structure if self._declared is None else self._declared.of(structure)

    def _tell(self, what: str, node: StableNode) -> None:
        """Notify the listeners of this kind of change."""
        for listener in self.node_listeners[what]:
            listener(node)

    @property
    def undisturbed(self) -> bool:
        """Whether no other actor can run or holds a lock that a walk would wait for."""
        conductor = self.conductor
        if not conductor.alone:
            return False
        for actor in conductor.actors:  # noqa: SIM110  # asked twice a page: a generator would double its cost
            if actor.held and actor is not conductor.turn:
                return False
        return True

    @seam
    def ksmd_should_run(self) -> bool:
        """Whether ksmd has work: run is 1 and an address space is registered. Read without a lock."""
        self.conductor.touch(YIELD, self, "ksm_run")
        self.conductor.touch(YIELD, self.ksm_mm_head, "")
        return bool(self.ksm_run & KSM_RUN_MERGE) and self.ksm_mm_head.next is not self.ksm_mm_head
