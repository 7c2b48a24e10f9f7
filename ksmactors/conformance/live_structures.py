"""KSM's structures in the running kernel: read while ksmd sleeps between two batches, and nobody else changes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ksmactors.conformance.btf import LayoutError
from ksmactors.conformance.kernel_memory import NODES_MAX, KernelMemory, PageTable, Record
from ksmactors.conformance.page_map import NamedPages
from ksmactors.conformance.structure_lines import UNKNOWN, NodeSight, TreeSights, scan_order, trees
from ksmactors.mm.const import PAGE_SIZE

PAGE_MASK: Final = ~(PAGE_SIZE - 1)
CHAIN_LEN_MAX: Final = -1
"""A chain has a negative rmap_hlist_len (STABLE_NODE_CHAIN)."""

ZONEINFO: Final = Path("/proc/zoneinfo")


class LiveStructures:
    """Reads the structures; knows the scenario's processes by their address spaces.

    Raises:
        LayoutError: this kernel does not show them, or has others.
    """

    def __init__(self, memory: KernelMemory, pages: PageTable, zoneinfo: Path = ZONEINFO) -> None:
        self._memory, self._pages = memory, pages
        btf = memory.btf
        self._node = btf.layout("ksm_stable_node", "stable_node", having="rmap_hlist_len")
        self._item = btf.layout("ksm_rmap_item", "rmap_item", having="rmap_list")
        self._scan = btf.layout("ksm_scan")
        self._task = btf.layout("task_struct")
        slot = btf.layout("ksm_mm_slot", "mm_slot", having="rmap_list")
        common = slot if "mm" in slot else btf.layout("mm_slot", having="mm_node")
        base = slot.offsets.get("slot", 0)
        self._slot_link = base + common["mm_node" if "mm_node" in common else "mm_list"]
        self._slot_mm = base + common["mm"]
        self._symbols = {
            name: memory.symbol(name)
            for name in ("root_stable_tree", "root_unstable_tree", "migrate_nodes", "ksm_mm_head", "ksm_scan",
                         "ksm_nr_node_ids", "init_task")
        }  # fmt: skip
        self._frames = list(_node_frames(zoneinfo.read_text()))
        self.processes: dict[int, NamedPages] = {}
        """By the address of the mm_struct, those of processes that have exited included."""
        list(self._slots())  # what cannot be read is said before a scenario begins

    # -- processes ------------------------------------------------------------------------------------------------

    def began(self, pid: int, process: NamedPages) -> None:
        """Note the address space of a process that has been created, or has executed a program."""
        self.processes[self._mm_of(pid)] = process

    def _mm_of(self, pid: int) -> int:
        """Return the mm_struct of a process; it is among the youngest."""
        memory, task = self._memory, self._task
        head = self._symbols["init_task"] + task["tasks"]
        link = memory.pointer(head + 8)
        for _ in range(NODES_MAX):
            if link == head:
                break
            start = link - task["tasks"]
            if memory.int32(start + task["pid"]) == pid:
                return memory.pointer(start + task["mm"])
            link = memory.pointer(link + 8)
        raise LayoutError(f"the kernel has no task {pid}; does this program run in a PID namespace of its own?")

    def mutex_owner(self) -> int:
        """Return the task that has ksm_thread_mutex; 0 if none has, or the kernel does not show it."""
        mutex = self._memory.symbols.get("ksm_thread_mutex")
        owner = 0 if mutex is None else self._memory.pointer(mutex) & ~7
        return owner and self._memory.int32(owner + self._task["pid"])

    # -- lines ----------------------------------------------------------------------------------------------------

    def scan_order(self) -> list[str]:
        """Return the lines `processes` and `cursor`."""
        memory = self._memory
        scan = self._symbols["ksm_scan"]
        slot = memory.pointer(scan + self._scan["mm_slot"])
        between = slot == self._symbols["ksm_mm_head"]
        at = None if between else self.processes.get(memory.pointer(slot + self._slot_mm))
        address = None if between else memory.pointer(scan + self._scan["address"])
        processes = [self.processes.get(memory.pointer(slot + self._slot_mm)) for slot in self._slots()]
        try:
            return scan_order(processes, at, address)
        except LookupError:
            return scan_order(processes, None, address)

    def trees(self) -> list[str]:
        """Return the stable trees, the migrate_nodes list, and within a scan the unstable trees."""
        memory = self._memory
        scanning = memory.pointer(self._symbols["ksm_scan"] + self._scan["mm_slot"]) != self._symbols["ksm_mm_head"]
        stable = memory.pointer(self._symbols["root_stable_tree"])
        one = stable == memory.symbols.get("one_stable_tree")
        nodes = 1 if one else memory.int32(memory.symbol("nr_node_ids"))
        unstable = memory.pointer(self._symbols["root_unstable_tree"])
        searched = memory.int32(self._symbols["ksm_nr_node_ids"]) if scanning else 0
        migrating = memory.linked(self._symbols["migrate_nodes"])
        return trees(
            TreeSights(
                [
                    [self._entry(found - self._node["node"]) for found in memory.tree(stable + 8 * nid)]
                    for nid in range(nodes)
                ],
                [self._sight(memory.record(link - self._node["list"], self._node)) for link in migrating],
                [
                    [
                        self._named(memory.record(found - self._item["node"], self._item))
                        for found in memory.tree(unstable + 8 * nid)
                    ]
                    for nid in range(searched)
                ],
            )
        )

    def _slots(self) -> Iterator[int]:
        for link in self._memory.linked(self._symbols["ksm_mm_head"] + self._slot_link):
            yield link - self._slot_link

    def _entry(self, address: int) -> NodeSight | list[NodeSight]:
        node = self._memory.record(address, self._node)
        if node.int32("rmap_hlist_len") > CHAIN_LEN_MAX:
            return self._sight(node)
        dups = self._memory.chained(node.pointer("hlist"))
        return [self._sight(self._memory.record(dup - self._node["hlist_dup"], self._node)) for dup in dups]

    def _sight(self, node: Record) -> NodeSight:
        pfn = node.pointer("kpfn")
        fresh = self._pages.belongs_to(pfn, node.address)
        nid = node.int32("nid") if "nid" in self._node else 0
        return NodeSight(self._nid_of(pfn) if fresh else None, nid, list(self._item_names(node.pointer("hlist"))))

    def _item_names(self, link: int) -> Iterator[str]:
        """Yield the names of the items of an hlist that begins with `link`."""
        for _ in range(NODES_MAX):
            if not link:
                return
            item = self._memory.record(link - self._item["hlist"], self._item)
            yield self._named(item)
            link = item.pointer("hlist")
        raise LayoutError("a list of items has no end")

    def _named(self, item: Record) -> str:
        """Return the name of an item's page; a freed item has no mm any more."""
        process = self.processes.get(item.pointer("mm"))
        address = item.pointer("address") & PAGE_MASK
        try:
            return UNKNOWN if process is None else str(process.page(address))
        except LookupError:
            return UNKNOWN

    def _nid_of(self, pfn: int) -> int:
        return next((nid for nid, first, end in self._frames if first <= pfn < end), 0)


def _node_frames(zoneinfo: str) -> Iterator[tuple[int, int, int]]:
    """Yield (node, first frame, frame behind the last one) of each zone of memory."""
    for zone in re.split(r"(?m)^(?=Node )", zoneinfo):
        node, spanned, start = (
            re.search(pattern, zone)
            for pattern in (r"^Node (\d+), zone", r"\n +spanned +(\d+)", r"\n +start_pfn: +(\d+)")
        )
        if node and spanned and start:
            yield int(node[1]), int(start[1]), int(start[1]) + int(spanned[1])
