"""O15: every schedule makes progress."""

from __future__ import annotations

from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.errors import StepLimit
from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.locks import Mutex, RwSem, SpinLock, WaitQueue
from ksmactors.interleave.reports import holders_of, idle, name_of
from ksmactors.machine import Machine
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import Watcher, kernel_function_of

FUTILE: Final = frozenset(
    code for code, event in enumerate(ev.CATALOGUE) if event.name.startswith(("race.", "fault."))
) | {ev.LOCK_WAIT, ev.MIGRATION_ENTRY_WAIT, ev.BREAK_KSM, ev.CALC_CHECKSUM, ev.KSM_START_SCAN, ev.KSM_STOP_SCAN}
"""Events that are no progress: attempts, waits, and scans that change nothing."""

STEPS_SHARE: Final = 2
"""One in this many of all steps must be without progress: half of them."""

IDLE_SCANS: Final = 10
"""This many consecutive full scans without a change are no progress: the first may still be on their way through
memory."""

STEPS_MIN: Final = 100_000
"""Fewer steps than this prove nothing: fork copies a large process without an event."""

KERNEL_WAITS: Final = (Mutex, RwSem, SpinLock, WaitQueue, Frame)
"""What an actor waits for in the kernel: a lock, or a wake-up."""

PAGE_STEPS: Final = 1_000
"""More steps than ksmd takes for a page that needs a long search."""


class Progress(Watcher):
    """Every schedule terminates: no livelock and no starvation.

    Promise. Every loop of the protocol that waits for another actor ends once that one has run: the spin on a frozen
    page (GK4), the restart of a search at a stale entry, the retry of get_ksm_page when kpfn has changed, ten passes of
    a migration, break_ksm until no KSM page is there. Each iteration is due to a change by another actor, and changes
    end.

    Found elsewhere. A wait cycle of actors is detected when it closes, without a watcher (`deadlock`), and so is a
    schedule in which no actor is ready and none sleeps. The order of locks belongs to the lock-order graph. This
    watcher is for actors that run.

    When checked. When a schedule has used up its steps (`--max-steps`). A schedule that ends has made progress, however
    long it took, so nothing is measured before. The measure is half of all steps, and a minimum number. If in them no
    event was recorded but futile ones (attempts, waits, lost races), and no page was scanned, or the same ones over and
    over with no effect, it is a *livelock*. If an actor was ready at each choice in them and never chosen, it is
    *starvation*. A strategy may be unfair for a while, as PCT is meant to be. But an actor that spins, sleeps or waits
    yields each time, so this much starvation means that another actor never yields. (A search or the default order is
    not checked: they are unfair.) If neither can be shown, the schedule was just too long, and stays inconclusive.

    Finding. `livelock`: the last actor loops in the function, and no operation of any actor ends it: GK4 without its
    test of the swap cache, a retry whose condition never changes. `starvation`: the function is the one in which the
    starved actor waits for its turn. `hung_task`: actors wait for each other, or for a wake-up, while others go on that
    do not end it; khungtaskd reports such. Not found here: pages that are merged and broken again in every scan (S6m);
    `convergence` reports it.
    """

    name: ClassVar[str] = "progress"
    summary: ClassVar[str] = "no livelock, no starvation (O15; deadlock is found without a watcher)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._step = self._scanned = self._idle_scans = 0
        self._half = max(machine.conductor.max_steps // STEPS_SHARE, STEPS_MIN)
        self._passed_at_half: dict[int, int] = {}
        """By number of each actor, how many points it had passed at the first progress in the second half of all
        steps."""
        for code in range(len(ev.CATALOGUE)):
            if code not in FUTILE:
                machine.trace.listen(code, self._moved)
        machine.trace.listen(ev.KSM_STOP_SCAN, self._scan_ended)

    def _moved(self, *fields: object) -> None:
        self._step, self._scanned = self.kernel.conductor.step, self.kernel.pages_scanned
        self._idle_scans = 0
        if self._step > self._half and not self._passed_at_half:
            self._passed_at_half = {actor.number: actor.passed for actor in self.kernel.conductor.actors}

    def _scan_ended(self, seqnr: int, rmap_items: int) -> None:
        self._idle_scans += 1

    @override
    def at_step_limit(self, limit: StepLimit) -> None:
        conductor = self.kernel.conductor
        many = max(conductor.max_steps // STEPS_SHARE, STEPS_MIN)
        silent = conductor.step - self._step
        scanning = self._idle_scans < IDLE_SCANS and self.kernel.pages_scanned - self._scanned >= silent // PAGE_STEPS
        if silent >= many and not scanning:
            names = ", ".join(actor.name for actor in conductor.ready)
            raise self.finding(
                "livelock",
                f"nothing but attempts for {silent} steps, by {names}",
                where=kernel_function_of(limit),
            )
        turns = conductor.tape.turns[-many:]
        hung = self._hung()
        conductor.places[conductor.turn.number] = kernel_function_of(limit)
        if hung:
            conductor.stuck = hung
            waits = "; ".join(f"{actor.name} waits for {name_of(actor.waiting_on)}" for actor in hung)
            raise self.finding(
                "hung_task",
                f"since half of all steps, while others go on: {waits}",
                where="+".join(sorted({conductor.places[actor.number] for actor in hung})),
            )
        for actor in conductor.ready if len(turns) == many and conductor.strategy.fair else ():
            if self._starved(actor, turns):
                raise self.finding(
                    "starvation",
                    f"{actor.name} was ready at each of the last {many} choices, and never chosen",
                    where=conductor.places.get(actor.number, "none"),
                    other=actor.number,
                )

    def _hung(self) -> list[Actor]:
        """Return the actors that have not moved since half of all steps, and wait for no other than such, daemons that
        have got no work since included. None, if one that could have moved has not: it might have woken them."""
        conductor = self.kernel.conductor
        left = [actor for actor in conductor.actors if actor.number in conductor.places]
        unmoved = [
            actor
            for actor in left
            if actor is not conductor.turn and self._passed_at_half.get(actor.number) == actor.passed
        ]
        still = [actor for actor in unmoved if not idle(actor)]
        hung = [actor for actor in still if isinstance(actor.waiting_on, KERNEL_WAITS)]
        if len(hung) < len(still):
            return []
        stopped = [actor for actor in unmoved if idle(actor)]
        while free := [one for one in hung if not all(on in hung + stopped for on in holders_of(one.waiting_on))]:
            hung = [one for one in hung if one not in free]
        return hung

    @staticmethod
    def _starved(actor: Actor, turns: list[tuple[int, int]]) -> bool:
        bit = 1 << actor.number
        return all(mask & bit and chosen != actor.number for mask, chosen in turns)
