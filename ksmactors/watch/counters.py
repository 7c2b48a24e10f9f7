"""O6: the counters are what they count."""

from __future__ import annotations

from typing import ClassVar

from ksmactors.ksm.structs import STABLE_FLAG, UNSTABLE_FLAG
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher


class Counters(Watcher):
    """pages_shared, pages_sharing, pages_unshared and the rmap_items equal a recount, whenever the mutex is released.

    shared counts nodes with at least one item, sharing the items beyond the first of each, unshared the items with the
    unstable flag, those of the last scan included.
    """

    name: ClassVar[str] = "counters"
    summary: ClassVar[str] = "pages_shared, _sharing, _unshared and rmap_items equal a recount (O6)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)

    def _at_unlock(self) -> None:
        kernel = self.kernel
        items = unstable = stable = 0
        slot = kernel.ksm_mm_head.next
        while slot is not kernel.ksm_mm_head:
            item = slot.rmap_list
            while item is not None:
                items += 1
                unstable += item.flag == UNSTABLE_FLAG
                stable += item.flag == STABLE_FLAG
                item = item.rmap_list
            slot = slot.next
        nodes = [*kernel.migrate_nodes, *(node for root in kernel.root_stable_tree for node in root)]
        shared = sum(node.first is not None for node in nodes)
        counted = {
            "pages_shared": (kernel.ksm_pages_shared, shared),
            "pages_sharing": (kernel.ksm_pages_sharing, stable - shared),
            "pages_unshared": (kernel.ksm_pages_unshared, unstable),
            "rmap_items": (kernel.ksm_rmap_items, items),
        }
        for name, (shown, recount) in counted.items():
            if shown != recount:
                raise self.convicts(f"wrong_{name}", f"{name} is {shown}, a recount gives {recount}")
