"""O5: the hlist of a stable node changes only under the lock of its page."""

from __future__ import annotations

from typing import ClassVar

from ksmactors.ksm.structs import StableNode
from ksmactors.later.chain_nodes import Chain
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher, frame_at, is_stale


class Hlist(Watcher):
    """The hlist of a stable node changes only under the lock of the page that kpfn names now, or when no walker can
    reach it.

    Promise. ksm_thread_mutex is not enough to link or unlink an rmap_item: reclaim, migration and munlock walk the
    hlist under nothing but the page lock. So the changer holds it, too. It must hold the lock of the page that the node
    has when the list changes, not of the one it had when the changer began to wait.

    Why it holds. get_ksm_page(lock) checks the mapping again after it has taken the lock (GK6): a migration stores kpfn
    (W3) under the locks of both frames, so while the mapping is still the expected one and the lock is held, kpfn
    cannot change. stable_tree_append locks the KSM page first, and gets the node from its mapping under that lock. If
    the node is stale, no walker can reach it through any page, and remove_node_from_stable_tree may make its items
    volatile without a lock; so may memory hot-remove, for frames that are absent.

    When checked. At the change itself, since the lock may change hands later. A node is stale if its frame is absent,
    or names something else, or has no references and is not frozen in the swap cache; it then stays stale. Between W3
    and W5 two frames name the node: the one that counts is kpfn's.

    Finding. `changed_unlocked`: a walker may stand on the item that has just been unlinked, or miss one, and leave a
    migration entry behind for ever. This may do no harm in this very schedule: S3a, S3b, N7, S5g (its damage shows on a
    weakly ordered machine only, or as a mapping that is missed once). `freed_live`: the node was freed with its items
    while its page still belongs to it (S5a, S5c, S5f; H1 on v3.9 and later).

    No probe. The promise is about a step (the changer of the hlist holds a lock), and the finding is that step. No
    state before it is wrong and no state after it shows it.
    """

    name: ClassVar[str] = "hlist"
    summary: ClassVar[str] = "a stable node's hlist changes only under its page's lock (O5)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.kernel.node_listeners["hlist"].append(self._changes)
        self.kernel.node_listeners["freed"].append(self._freed)

    def _changes(self, node: StableNode) -> None:
        if self._nobodys(node):
            return
        raise self.finding(
            "changed_unlocked",
            f"{self.kernel.conductor.turn.name} changes the hlist of {node} without the lock of its page",
            other=node.moved_by,
            about=(node,),
        )

    def _freed(self, node: StableNode) -> None:
        if isinstance(node, Chain) or node.first is None or self._nobodys(node):
            return
        raise self.finding(
            "freed_live",
            f"{node} was freed with its rmap_items although pfn {node.kpfn} is its page, and unlocked",
            other=node.moved_by,
            about=(node,),
        )

    def _nobodys(self, node: StableNode) -> bool:
        """Whether no walker can be at the hlist: the running actor has locked the page, or there is none."""
        page = frame_at(self.kernel, node.kpfn)
        return page is None or page.owner is self.kernel.conductor.turn or is_stale(self.kernel, node)
