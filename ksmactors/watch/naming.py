"""O3: stable nodes, their pages and their items name each other."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.ksm.structs import KSM_RUN_OFFLINE, STABLE_FLAG, StableNode
from ksmactors.later.chain_nodes import Chain, DupNode
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import UNLOCK, Watcher, frame_at, placed_nodes
from ksmactors.watch.probe import Probe, number_of


class Naming(Watcher):
    """A stable node and its page name each other, and so do a stable node and the rmap_items on its hlist.

    Promise. A node holds no reference on its page. The tie is that `kpfn` names the frame and the frame's mapping names
    the node. If the frame does not, the node is stale, and then no other frame in use names it either. A frame with
    references never names a freed node. An item on a node's hlist is alive, is marked stable and has that node as its
    head; in later kernels a dup counts its items correctly.

    Why it holds. A migration gives the new frame the mapping first (W0), then stores kpfn (W3), then takes the mapping
    from the old one (W5), with a barrier between, so that a reader that finds the mapping gone finds the new kpfn. And
    get_ksm_page reads kpfn again before it frees a node. A new node is complete before the page that names it is
    unlocked. remove_stable_node takes the mapping away before it frees the node (S4f).

    When not checked. Between W0 and W8 two frames name the node, or none that kpfn names does; both are locked then. So
    a frame is checked only while it is not locked (S5d is benign for this reason: two frames name the node, and both
    are locked). Nor while memory goes offline, when kpfn may name a frame that is absent.

    A frame without references that names a freed node is just being freed (reclaim clears the mapping a batch later);
    it is unreachable.

    Finding. `not_mutual`: a page is in use whose node does not name it, and the next search frees that node.
    `freed_while_named`: the node has been freed, and the next reverse mapping uses freed memory: S4e, S4f, S5a to S5c,
    S5f, N9, and H1 on v3.9 and all later kernels. `maps_freed_node`: the same, detected when an entry is restored.
    `bad_hlist`: a walker stands on an item that is not this node's: S3a, S5g.
    """

    name: ClassVar[str] = "naming"
    summary: ClassVar[str] = "stable nodes, pages and rmap_items name each other (O3)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._cleared: set[int] = set()
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)
        self.kernel.node_listeners["freed"].append(self._freed)
        self.kernel.pte_listeners.append(self._pte_changed)

    def _at_unlock(self) -> None:
        if not self.kernel.ksm_run & KSM_RUN_OFFLINE:
            for node in placed_nodes(self.kernel):
                self._check(node)

    def _check(self, node: StableNode) -> None:
        self._check_items(node)
        page = frame_at(self.kernel, node.kpfn)
        if node.number in self._cleared or page is None or page.mapping is node.mapping or page.owner is not None:
            return
        naming = [frame for frame in self._frames() if frame.mapping is node.mapping and frame.refcount]
        for frame in naming:
            if frame.refcount > 0 and frame.owner is None:
                message = f"pfn {frame.pfn} names {node}, whose kpfn is {node.kpfn}"
                raise self.finding("not_mutual", message, where=UNLOCK, other=node.moved_by, about=(node,))
        if not naming:
            self._cleared.add(node.number)  # a stale node stays stale: no actor can reach it

    def _check_items(self, node: StableNode) -> None:
        items, item = 0, node.first
        while item is not None:
            if item.flag != STABLE_FLAG or item.head is not node:
                message = f"{item} on the hlist of {node} names {item.head}, flag {item.flag:#x}"
                raise self.finding("bad_hlist", message, where=UNLOCK, about=(node,))
            items, item = items + 1, item.hnext
        if isinstance(node, DupNode) and node.rmap_hlist_len != items:
            message = f"{node} has {items} rmap_items, but rmap_hlist_len {node.rmap_hlist_len}"
            raise self.finding("bad_hlist", message, where=UNLOCK, about=(node,))

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether the node's page names it, and whether its items do; or whether the frame names a node that is alive.

        Ignores a lock that would excuse it for now: a state that is repaired before the release was not broken for
        good.
        """
        kernel, number, pfn = self.kernel, number_of(finding, "node"), number_of(finding, "pfn")
        if finding.kind == "maps_freed_node" and pfn is not None:
            return Probe(lambda: self._names_a_freed_node(frame_at(kernel, pfn)))
        check = self._has_bad_items if finding.kind == "bad_hlist" else self._is_unnamed
        return Probe(lambda: next((check(one) for one in placed_nodes(kernel) if one.number == number), None))

    @staticmethod
    def _names_a_freed_node(frame: Frame | None) -> bool:
        node = frame.stable_node if frame is not None and frame.refcount > 0 else None
        return isinstance(node, StableNode) and not node.alive

    def _is_unnamed(self, node: StableNode) -> bool:
        page = frame_at(self.kernel, node.kpfn)
        return page is None or page.mapping is not node.mapping

    def _has_bad_items(self, node: StableNode) -> bool:
        try:
            self._check_items(node)
        except Finding:
            return True
        return False

    def _frames(self) -> list[Frame]:
        return [frame for node in self.kernel.nodes for frame in node.frames]

    def _freed(self, node: StableNode) -> None:
        if isinstance(node, Chain):
            return
        for page in self._frames():
            if page.mapping is node.mapping and page.refcount > 0:
                raise self.finding(
                    "freed_while_named",
                    f"{node} was freed while pfn {page.pfn}, with {page.mapcount} mappings, names it",
                    other=node.moved_by,
                    about=(node, page),
                )

    def _pte_changed(self, mm: AddressSpace, address: int, before: Pte | None, pte: Pte | None) -> None:
        if pte is None or pte.migration:
            return
        node = pte.frame.stable_node
        if isinstance(node, StableNode) and not node.alive:
            raise self.finding(
                "maps_freed_node",
                f"{mm.name} maps pfn {pte.frame.pfn} at {address:#x}, which names {node}, a freed node",
                other=node.moved_by,
                about=(node, pte.frame),
            )

    @override
    def at_quiescence(self) -> None:
        """Check every frame in use: no operation is under way."""
        for frame in self._frames():
            node = frame.stable_node
            if frame.refcount > 0 and isinstance(node, StableNode) and not node.alive:
                message = f"pfn {frame.pfn}, with {frame.refcount} references, names {node}, a freed node"
                raise self.finding("maps_freed_node", message, where="none", other=node.moved_by, about=(node, frame))
