"""What a watcher is, and what all of them ask of a kernel without disturbing it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from ksmactors import call_stack
from ksmactors.errors import Finding, StepLimit
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame
from ksmactors.mm.reports import kernel_function
from ksmactors.watch.probe import Name, Probe, frame_at

__all__ = ["UNLOCK", "Watcher", "culprit", "frame_at", "is_stale", "kernel_function_of", "placed_nodes"]

UNLOCK: Final = "mutex_unlock"
"""Where a state shows that is looked at when ksm_thread_mutex is released: not in whoever happens to release it."""


class Watcher:
    """Watches one machine for one schedule: subscribe in `__init__`, raise `self.finding(...)` when it is time.

    A watcher only listens: it passes no point, takes no lock, draws nothing, emits no event and changes nothing that
    the kernel reads. What it can listen to: events (`machine.trace.listen`), releases of ksm_thread_mutex
    (`ksm_thread_mutex.before_unlock`), what processes do to their memory (`kernel.observers`), what devices do to
    pinned pages (`kernel.device_observers`), every change of a page table entry (`kernel.pte_listeners`) or of the
    Mlocked flag (`node.mlock_listeners`), news of stable nodes (`kernel.node_listeners`), and the four moments below.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.kernel = machine.kernel

    def at_rest(self) -> None:
        """The workload's code has ended, and so has every call that it made; nothing has been done about it yet: the
        knobs are as it left them, and ksmd, migration daemons and reclaimers go on."""

    def at_quiescence(self) -> None:
        """Nobody but ksmd has moved for some full scans, and nobody holds anything."""

    def at_exit(self) -> None:
        """All processes have exited, and ksmd has let go of them."""

    def at_step_limit(self, limit: StepLimit) -> None:
        """The schedule has run out of steps, and is over: without a finding there is no verdict."""

    def probe(self, finding: Finding) -> Probe | None:
        """The promise that a finding of this watcher says is broken, about what it names, as a question that can be
        asked on this machine after any step of a replay. None: it has no such question; then the finding is told by
        where it shows."""
        return None

    def finding(
        self,
        kind: str,
        message: str,
        *,
        where: str | None = None,
        other: int = -1,
        about: tuple[object, ...] = (),
        names: tuple[Name, ...] = (),
    ) -> Finding:
        """The finding; `where` is the kernel function it shows in, the running one if not given; `other` the number of
        the second actor; `about` the objects concerned; `names` what else is, by names that replays have in common."""
        if other >= len(self.machine.conductor.actors):
            raise ValueError(f"finding(other={other}): there is no actor of that number")
        return Finding(self.name, kind, where or kernel_function(), message, other=other, about=about, names=names)

    convicts = finding
    """The former name of `finding`, for watchers of plug-ins."""


def mappers_of(kernel: Ksm, page: Frame) -> Iterator[tuple[AddressSpace, int]]:
    """Where a frame is what a process would find: mapped, under migration, or in the swap cache for a swap entry."""
    slot = page.swap
    for mm in kernel.address_spaces:
        yield from ((mm, address) for address, pte in mm.ptes.items() if pte.frame is page)
        if slot is not None and slot.page is page:
            yield from ((mm, address) for address, other in mm.swap_ptes.items() if other is slot)


def is_stale(kernel: Ksm, node: StableNode) -> bool:
    """Whether a stable node has lost its page for good: nobody will come to it through the page again.

    Its frame is absent, or says that it is somebody else's, or has no references and is not just frozen in the swap
    cache. A node whose page is being migrated names, at every instant, a frame that names it.
    """
    page = frame_at(kernel, node.kpfn)
    return page is None or page.mapping is not node.mapping or (page.refcount <= 0 and page.swap is None)


def placed_nodes(kernel: Ksm) -> Iterator[StableNode]:
    """All stable nodes that have a page: in the trees, dups of chains included, and on migrate_nodes."""
    for root in kernel.root_stable_tree:
        yield from kernel.nodes_of(root)
    yield from kernel.migrate_nodes


def kernel_function_of(error: BaseException) -> str:
    """The innermost kernel function that an exception has passed through; "none": through no such."""
    return call_stack.kernel_function(call_stack.frames_of(error))


def culprit(error: BaseException) -> Watcher | None:
    """The watcher in whose code an exception was raised, or its cause; None: it was nobody's fault of them."""
    for raised in (error, error.__cause__):
        for frame in reversed(call_stack.frames_of(raised) if raised is not None else []):
            owner = frame.f_locals.get("self")
            if isinstance(owner, Watcher):
                return owner
    return None
