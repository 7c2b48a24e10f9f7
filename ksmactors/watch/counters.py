"""O6: the counters equal a recount."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.ksm.structs import KSM_RUN_OFFLINE, STABLE_FLAG, UNSTABLE_FLAG
from ksmactors.later.chain_nodes import Chain, ChainNodes
from ksmactors.later.per_mm import PerMmFork
from ksmactors.later.zero_counted import ZeroCounted
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace
from ksmactors.watch.base import UNLOCK, Watcher, placed_nodes
from ksmactors.watch.probe import Probe, number_of


class OfProcess(NamedTuple):
    """A number that /proc/PID/ksm_stat shows, with its recount."""

    name: str
    mm: AddressSpace
    shown: int
    recount: int


class CounterInvariants(Watcher):
    """pages_shared, pages_sharing, pages_unshared and the rmap_items equal a recount, whenever the mutex is released.

    `pages_shared` counts nodes with at least one item, `pages_sharing` the items beyond the first of each,
    `pages_unshared` the items with the unstable flag, those of the last scan included. On later kernels also the
    chains, the dups and KSM's zero pages, and what /proc/PID/ksm_stat says of each process.

    Why it holds. Each counter changes where its items change: an item that joins a node counts as shared if it is the
    first there, else as sharing; the last one to leave decrements shared. The counters count rmap_items, not page table
    entries: a page that a process has written, unmapped or swapped out is counted until ksmd, or the node's removal,
    notices; a child's mapping is not counted before ksmd has visited it.

    When not checked. While an actor holds ksm_thread_mutex, the list and its counter may differ; and while memory goes
    offline, nodes are removed without the mutex. So the recount is made whenever the mutex is released. The kernel
    itself reads the counters without a lock, and may show values that never held together.

    Finding. The savings shown are wrong, and merge_across_nodes is EBUSY for ever, or not when it should be. Cases: the
    symptoms of S5a (two mappings too few) and of many others that another watcher detects earlier; a mutant that counts
    on the wrong side of a test.
    """

    name: ClassVar[str] = "counters"
    summary: ClassVar[str] = "pages_shared, _sharing, _unshared and rmap_items equal a recount (O6)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.kernel.ksm_thread_mutex.before_unlock.append(self._at_unlock)

    def _at_unlock(self) -> None:
        kernel = self.kernel
        if kernel.ksm_run & KSM_RUN_OFFLINE:  # memory hot-remove changes the trees without the mutex
            return
        self._compare(self._counted())

    def _counted(self) -> dict[str, tuple[int, int]]:
        """Return each counter with its recount."""
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
        shared = sum(node.first is not None for node in placed_nodes(kernel))
        counted = {
            "pages_shared": (kernel.ksm_pages_shared, shared),
            "pages_sharing": (kernel.ksm_pages_sharing, stable - shared),
            "pages_unshared": (kernel.ksm_pages_unshared, unstable),
            "rmap_items": (kernel.ksm_rmap_items, items),
        }
        if isinstance(kernel, ChainNodes):
            chains = [entry for root in kernel.root_stable_tree for entry in root if isinstance(entry, Chain)]
            counted["stable_node_chains"] = (kernel.stable_node_chains, len(chains))
            counted["stable_node_dups"] = (kernel.stable_node_dups, sum(len(chain.dups) for chain in chains))
        return counted

    @override
    def at_quiescence(self) -> None:
        """Check KSM's zero pages, whose counter changes outside the mutex, so a recount has to wait until no actor
        runs; and the numbers of each process, which are many."""
        kernel = self.kernel
        if isinstance(kernel, ZeroCounted):
            self._compare(self._zero_pages(kernel))
        for name, mm, shown, recount in self._of_processes():
            if shown != recount:
                raise self.finding(
                    f"wrong_{name}",
                    f"{name} of {mm.name} is {shown}, a recount gives {recount}",
                    where=UNLOCK,
                    about=(mm,),
                )

    def _of_processes(self) -> Iterator[OfProcess]:
        """Yield the numbers of each process. Up to v6.1 a child starts with those of its parent, so there is nothing to
        compare."""
        kernel = self.kernel
        if not isinstance(kernel, PerMmFork):
            return
        items: Counter[int] = Counter()
        merged: Counter[int] = Counter()
        for slot in kernel.mm_slots_hash.values():
            item = slot.rmap_list
            while item is not None:
                items[item.mm.number] += 1
                merged[item.mm.number] += item.flag == STABLE_FLAG
                item = item.rmap_list
        for mm in kernel.address_spaces:
            if not mm.users:
                continue
            yield OfProcess("ksm_rmap_items", mm, kernel.mm_rmap_items[mm.number], items[mm.number])
            yield OfProcess("ksm_merging_pages", mm, kernel.mm_merging_pages[mm.number], merged[mm.number])
            if isinstance(kernel, ZeroCounted):
                zeros = sum(map(kernel.is_ksm_zero_pte, mm.ptes.values()))
                yield OfProcess("ksm_zero_pages", mm, kernel.mm_zero_pages[mm.number], zeros)

    @staticmethod
    def _zero_pages(kernel: ZeroCounted) -> dict[str, tuple[int, int]]:
        ptes = (pte for mm in kernel.address_spaces for pte in mm.ptes.values())
        return {"ksm_zero_pages": (kernel.ksm_zero_pages, sum(map(kernel.is_ksm_zero_pte, ptes)))}

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Return how far a counter is from its recount; one actor changes both together."""
        counter = finding.kind.removeprefix("wrong_")
        number = number_of(finding, "mm")
        if number is not None:
            return Probe(lambda: self._off_by(counter, number), adds_up=True)

        def wrong() -> int:
            kernel = self.kernel
            of_zero = self._zero_pages(kernel) if isinstance(kernel, ZeroCounted) else {}
            shown, recount = of_zero[counter] if counter in of_zero else self._counted()[counter]
            return shown - recount

        return Probe(wrong, adds_up=True)

    def _off_by(self, counter: str, number: int) -> int:
        """Return how far a process's number is from its recount."""
        found = (one for one in self._of_processes() if one.name == counter and one.mm.number == number)
        one = next(found, None)
        return 0 if one is None else one.shown - one.recount

    def _compare(self, counted: dict[str, tuple[int, int]]) -> None:
        for name, (shown, recount) in counted.items():
            if shown != recount:
                raise self.finding(
                    f"wrong_{name}",
                    f"{name} is {shown}, a recount gives {recount}",
                    where=UNLOCK,
                    names=(("kernel", name if name.startswith("ksm_") else f"ksm_{name}"),),
                )
