"""The structures of mm/ksm.c: mm_slot, ksm_scan, stable_node, rmap_item.

C overlays fields that are never needed at once. Here each overlay is one slot with a tag, and using a member that is
not the valid one is a finding: `RmapItem.anon_vma` lies over `nid`, `RmapItem.head` over the tree links, and a
`StableNode` is either linked in a tree or on `migrate_nodes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.ksm.index import IndexedNode
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.frame import KsmMapping
from ksmactors.mm.reports import lifetime, misuse

UNSTABLE_FLAG: Final = 0x100
STABLE_FLAG: Final = 0x200
SEQNR_MASK: Final = 0xFF

FREED: Final = -1
"""Where an rmap_item's flag is: the item has been freed."""

KSM_RUN_STOP: Final = 0
KSM_RUN_MERGE: Final = 1
KSM_RUN_UNMERGE: Final = 2
KSM_RUN_OFFLINE: Final = 4
"""A bit beside the other values: memory is being taken offline."""


class MmSlot:
    """One registered address space. `rmap_list` is the first of its rmap_items, ascending by address."""

    __slots__ = ("alive", "mm", "next", "prev", "rmap_list")

    def __init__(self, mm: AddressSpace | None) -> None:
        self.mm = mm
        self.rmap_list: RmapItem | None = None
        self.next: MmSlot = self
        self.prev: MmSlot = self
        self.alive = True

    @override
    def __repr__(self) -> str:
        return f"<MmSlot {self.mm.name if self.mm is not None else 'head'}>"

    def label(self, field: object) -> str:
        """How strategies call the list of address spaces, which its head stands for."""
        return "mm_list"

    def add_before(self, other: MmSlot) -> None:
        """list_add_tail(&self->mm_list, &other->mm_list)."""
        self.prev, self.next = other.prev, other
        self.prev.next = other.prev = self

    def unlink(self) -> None:
        """list_del."""
        self.prev.next, self.next.prev = self.next, self.prev
        self.next = self.prev = self

    def must_be_alive(self) -> None:
        """Raise the finding if the slot has been freed."""
        if not self.alive:
            raise lifetime(
                "mm_slot", f"the mm_slot of {self.mm.name if self.mm else 'the head'} is used after its free", self
            )


class RmapItem(IndexedNode):
    """One (mm, page address) that ksmd has looked at.

    `flag` is STABLE_FLAG (on a stable node's hlist), UNSTABLE_FLAG (in an unstable tree, or in one that has been
    thrown away since) or 0 (volatile); `seqnr` the low bits of the scan in which it went into the unstable tree.
    """

    __slots__ = (
        "_head", "_owner", "address", "flag", "hnext", "hprev", "mm", "number", "oldchecksum",
        "rmap_list", "seqnr",
    )  # fmt: skip

    def __init__(self, number: int, mm: AddressSpace, address: int) -> None:
        super().__init__()
        self.number, self.mm, self.address = number, mm, address
        self.flag = 0
        self.seqnr = 0
        self.oldchecksum = 0
        self.rmap_list: RmapItem | None = None
        self._owner: AnonVma | int = 0
        self._head: StableNode | None = None
        self.hnext: RmapItem | None = None
        self.hprev: RmapItem | None = None

    @override
    def __repr__(self) -> str:
        return f"<RmapItem {self.number} {self.mm.name}:{self.address:#x}>"

    @property
    def anon_vma(self) -> AnonVma:
        """Valid once stored, until `nid` is."""
        owner = self._owner
        if isinstance(owner, int):
            raise misuse("union_misuse", f"{self}: anon_vma is read while nid is stored there", self)
        return owner

    @anon_vma.setter
    def anon_vma(self, anon_vma: AnonVma) -> None:
        self._owner = anon_vma

    @property
    def nid(self) -> int:
        """Index of the unstable tree the item is in."""
        owner = self._owner
        if not isinstance(owner, int):
            raise misuse("union_misuse", f"{self}: nid is read while anon_vma is stored there", self)
        return owner

    @nid.setter
    def nid(self, nid: int) -> None:
        self._owner = nid

    @property
    def head(self) -> StableNode | None:
        """The stable node that was last stored here; None once the tree links have overwritten it.

        v3.9 does not clear it when the item leaves the node, and compares it with nodes all the same.
        """
        return self._head

    @head.setter
    def head(self, node: StableNode | None) -> None:
        self._head = node

    def links_overwrite_head(self) -> None:
        """The item goes into an unstable tree: its rb links lie where `head` was."""
        self._head = None

    @override
    def must_be_alive(self) -> None:
        """Raise the finding if the item has been freed."""
        if self.flag == FREED:
            raise lifetime("rmap_item", f"{self} is used after it was freed", self)


class StableNode(IndexedNode):
    """One KSM page known to ksmd. It holds no reference on its page: `kpfn` and the page's mapping name each other.

    `mapping` is what the page's mapping must be; `nid` the tree it is linked in; `hlist` its rmap_items, latest
    first. `moves` counts migrations of its page (the kernel has no such field; `later/kpfn_aba.py` uses it).
    """

    __slots__ = ("alive", "first", "kpfn", "mapping", "migrating", "moved_by", "moves", "nid", "number")

    vital: ClassVar[str] = "alive"
    """The field on which it hangs whether any other operation is allowed."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.kpfn = 0
        self.nid = 0
        self.first: RmapItem | None = None
        self.mapping = KsmMapping(self)
        self.migrating = False
        """head == &migrate_nodes."""
        self.moves = 0
        self.moved_by = -1
        self.alive = True

    @override
    def __repr__(self) -> str:
        return f"<StableNode {self.number} kpfn {self.kpfn}>"

    def label(self, field: object) -> str:
        """How strategies call its fields: `kpfn/NUMBER`."""
        return f"{field}/{self.number}"

    def hlist(self) -> Iterator[RmapItem]:
        """The rmap_items, latest first."""
        item = self.first
        while item is not None:
            item.must_be_alive()
            following = item.hnext
            yield item
            item = following

    def hlist_add_head(self, item: RmapItem) -> None:
        """hlist_add_head(&item->hlist, &node->hlist)."""
        item.hnext, item.hprev = self.first, None
        if self.first is not None:
            self.first.hprev = item
        self.first = item

    def hlist_del(self, item: RmapItem) -> None:
        """hlist_del(&item->hlist)."""
        if item.hprev is None:
            self.first = item.hnext
        else:
            item.hprev.hnext = item.hnext
        if item.hnext is not None:
            item.hnext.hprev = item.hprev
        item.hnext = item.hprev = None

    @override
    def must_be_alive(self) -> None:
        """Raise the finding if the node has been freed."""
        if not self.alive:
            raise lifetime("stable_node", f"{self} is used after it was freed", self)


class KsmScan:
    """The cursor. `rmap_list` is the link cell where the next rmap_item is or goes: the slot, or the item before."""

    __slots__ = ("address", "mm_slot", "rmap_list", "seqnr", "started")

    def __init__(self, head: MmSlot) -> None:
        self.mm_slot = head
        self.address = 0
        self.rmap_list: MmSlot | RmapItem = head
        self.seqnr = 0
        self.started = 0
        """For observers: how many scans have started. Unlike `seqnr`, run=2 does not put it back to 0."""
