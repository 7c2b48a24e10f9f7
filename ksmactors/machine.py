"""The emulated machine: nodes, a kernel, and who watches it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from ksmactors.errors import StepLimit
from ksmactors.events import catalogue as ev
from ksmactors.injection import Injector, Rate
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.reports import name_of
from ksmactors.mm.hardware import DEFAULT_FRAMES_PER_NODE, Hardware

if TYPE_CHECKING:
    from ksmactors.events.trace import Trace
    from ksmactors.interleave.conductor import Conductor


class AttachedWatcher(Protocol):
    """What the machine knows of a watcher: when it is asked for its verdict."""

    def at_rest(self) -> None:
        """The workload's code has ended."""

    def at_quiescence(self) -> None:
        """Only ksmd has run for some full scans."""

    def at_exit(self) -> None:
        """All processes have exited."""

    def at_step_limit(self, limit: StepLimit) -> None:
        """The schedule has run out of steps."""


class Machine:
    """One machine for one schedule.

    Args:
        conductor: who decides who moves.
        trace: where events are recorded.
        nodes: NUMA nodes, at least 1.
        frames_per_node: 4 KiB frames of each node.
        kernel: name of the kernel emulated, see `kernels.KERNELS`.
        without: variants of that kernel to take off.
        with_: variants to put on.
        inject: faults that may happen, see `injection.KINDS`, and how often each.
        synchronous_swap: whether the swap device is a RAM disk, whose writes have ended when they return;
            `kernel.swap.synchronous` changes it later.

    Raises:
        UsageError: no such kernel or variant, or an impossible number.
    """

    def __init__(
        self,
        conductor: Conductor,
        trace: Trace,
        *,
        nodes: int = 2,
        frames_per_node: int = DEFAULT_FRAMES_PER_NODE,
        kernel: str = "series",
        without: Iterable[str] = (),
        with_: Iterable[str] = (),
        inject: Mapping[str, Rate] | None = None,
        synchronous_swap: bool = False,
    ) -> None:
        self.conductor = conductor
        self.trace = trace
        self.nodes = nodes
        from ksmactors.kernels import kernel_class  # workloads can be listed without all kernels and variants

        cls = kernel_class(kernel=kernel, without=without, with_=with_)
        self.kernel = cls(Hardware(conductor, trace, nodes, frames_per_node))
        self.kernel.swap.synchronous = synchronous_swap
        self.injector = Injector(conductor, trace, inject or {})
        if inject:
            self.kernel.inject = self.injector.fires
        self.watchers: list[AttachedWatcher] = []
        conductor.contention = self._contended

    def _contended(self, lock: object, waiter: Actor, holder: Actor | None) -> None:
        self.trace.emit(ev.LOCK_WAIT, name_of(lock), holder.name if holder is not None else None)
