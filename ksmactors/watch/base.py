"""The base class of watchers, and queries on a kernel that do not disturb it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from ksmactors import call_stack
from ksmactors.errors import Finding, StepLimit
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.machine import Machine
from ksmactors.marks import SEPARATOR, is_true, kind_of, mark_of, message_of, written_in
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame
from ksmactors.mm.reports import kernel_function
from ksmactors.watch.probe import Name, Probe, frame_at

__all__ = ["UNLOCK", "Watcher", "culprit", "frame_at", "is_stale", "kernel_function_of", "placed_nodes"]

UNLOCK: Final = "mutex_unlock"
"""The function of findings that are detected when ksm_thread_mutex is released, whichever function releases it."""


class Watcher:
    """Checks one machine during one schedule: subscribe in `__init__`, raise `self.finding(...)` when a promise is
    broken.

    A watcher only observes: it passes no scheduling point, takes no lock, draws nothing, emits no event and changes
    nothing that the kernel reads. It may subscribe to: events (`machine.trace.listen`), releases of ksm_thread_mutex
    (`ksm_thread_mutex.before_unlock`), memory operations of processes (`kernel.observers`), accesses of devices to
    pinned pages (`kernel.device_observers`), new secondary mappings (`kernel.secondary_observers`),
    changes of page table entries (`kernel.pte_listeners`) and of the Mlocked
    flag (`node.mlock_listeners`), changes of stable nodes (`kernel.node_listeners`), and the four moments below.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.kernel = machine.kernel

    def at_rest(self) -> None:
        """Called when the workload's code and all calls it made have ended. The knobs still have the workload's values,
        and ksmd, migration daemons and reclaimers go on."""

    def at_quiescence(self) -> None:
        """Called when only ksmd has run for some full scans, and no actor holds anything."""

    def at_exit(self) -> None:
        """Called when all processes have exited, and ksmd has dropped its references to them."""

    def at_step_limit(self, limit: StepLimit) -> None:
        """Called when the schedule has run out of steps and is over: without a finding the verdict is inconclusive."""

    def probe(self, finding: Finding) -> Probe | None:
        """Return the broken promise of a finding, about its objects, as a query that can be evaluated after any step of
        a replay.

        Returns None if there is no such query; the explanation then uses the place where the finding was detected.
        """
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
        """Make a finding.

        `where` is the kernel function it is detected in (by default the running one), `other` the number of the second
        actor, `about` the objects concerned, and `names` further names that are the same in every replay.
        """
        if other >= len(self.machine.conductor.actors):
            raise ValueError(f"finding(other={other}): there is no actor of that number")
        return Finding(self.name, kind, where or kernel_function(), message, other=other, about=about, names=names)

    def always(self, condition: bool, text: str, *, detail: str = "") -> None:
        """Promise that a condition holds whenever this line is reached; `text` identifies the finding.

        Args:
            condition: what must hold.
            text: the promise, in words that are the same each time.
            detail: what is particular about this time, for the message.

        Raises:
            Finding: it does not hold.
        """
        kind = kind_of(text)
        if not is_true(condition):
            raise self.finding(kind, message_of(text, detail))

    def sometimes(self, condition: bool, text: str) -> None:
        """Expect that a condition holds at this line in some schedule: a campaign in which it never held says so.

        The mark is `name/text`. It is no event: a schedule is the same with and without its watchers.
        """
        self.machine.trace.note_mark(f"{self.name}{SEPARATOR}{mark_of(text)}", passed=is_true(condition))

    @classmethod
    def marks_expected(cls) -> tuple[str, ...]:
        """The marks of each `sometimes` in its source."""
        return tuple(f"{cls.name}{SEPARATOR}{text}" for text in written_in(cls))

    convicts = finding
    """Former name of `finding`, for watchers of plug-ins."""


def mappers_of(kernel: Ksm, page: Frame) -> Iterator[tuple[AddressSpace, int]]:
    """Yield the places where a process would find a frame: mapped, under migration, or in the swap cache for a swap
    entry."""
    slot = page.swap
    for mm in kernel.address_spaces:
        yield from ((mm, address) for address, pte in mm.ptes.items() if pte.frame is page)
        if slot is not None and slot.page is page:
            yield from ((mm, address) for address, other in mm.swap_ptes.items() if other is slot)


def is_stale(kernel: Ksm, node: StableNode) -> bool:
    """Whether a stable node has lost its page for good, so that it cannot be reached through the page any more.

    Its frame is absent, or its mapping does not name the node, or it has no references and is not just frozen in the
    swap cache. The node of a page under migration always names a frame that names it.
    """
    page = frame_at(kernel, node.kpfn)
    return page is None or page.mapping is not node.mapping or (page.refcount <= 0 and page.swap is None)


def placed_nodes(kernel: Ksm) -> Iterator[StableNode]:
    """Yield all stable nodes that have a page: in the trees, dups of chains included, and on migrate_nodes."""
    for root in kernel.root_stable_tree:
        if root.root is not None:
            yield from kernel.nodes_of(root)
    yield from kernel.migrate_nodes


def kernel_function_of(error: BaseException) -> str:
    """Return the innermost kernel function that an exception has passed through, or "none"."""
    return call_stack.kernel_function(call_stack.frames_of(error))


def culprit(error: BaseException) -> Watcher | None:
    """Return the watcher whose code raised the exception or its cause, or None."""
    for raised in (error, error.__cause__):
        for frame in reversed(call_stack.frames_of(raised) if raised is not None else []):
            owner = frame.f_locals.get("self")
            if isinstance(owner, Watcher):
                return owner
    return None
