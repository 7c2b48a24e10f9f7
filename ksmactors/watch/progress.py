"""O15: everybody gets on."""

from __future__ import annotations

from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.errors import StepLimit
from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import Actor
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher, kernel_function_of

FUTILE: Final = frozenset(
    code for code, event in enumerate(ev.CATALOGUE) if event.name.startswith(("race.", "fault."))
) | {ev.LOCK_WAIT, ev.MIGRATION_ENTRY_WAIT, ev.BREAK_KSM, ev.CALC_CHECKSUM, ev.KSM_START_SCAN, ev.KSM_STOP_SCAN}
"""Events that somebody may go on causing without getting anywhere: attempts, waits, and scans that change nothing."""

STEPS_SHARE: Final = 2
"""What part of all steps must be in vain: one half."""

IDLE_SCANS: Final = 10
"""So many full scans on end that change nothing are no progress: the first may still be on their way through memory."""

STEPS_MIN: Final = 100_000
"""Fewer steps than this prove nothing: fork copies a large process without a word."""


PAGE_STEPS: Final = 1_000
"""More steps than ksmd takes for a page that needs a long search."""


class Progress(Watcher):
    """A schedule comes to its end: no actors keep each other busy for ever, nobody who could move never gets to.

    What is promised. Every loop of the protocol that waits for somebody else ends once that one has moved: the spin
    on a frozen page (GK4), the restart of a search at a stale entry, the retry of get_ksm_page when kpfn has changed,
    ten passes of a migration, break_ksm until no KSM page is there. Each round is paid for by a change that somebody
    else has made, and nobody makes changes without end.

    What is found elsewhere. A circle of actors that wait for locks is found when it closes, with nobody watching
    (`deadlock`), and so is a schedule in which nobody is ready and nobody sleeps. The order of locks is the lock-order
    graph's. This watcher is for those who move.

    When one looks. When a schedule has used up its steps (`--max-steps`). One that ends has shown that everybody got
    on, whatever took how long on the way, so there is nothing to measure before. The measure is half of all steps,
    and many. If nothing was achieved in them, that is, no event was recorded but futile ones (attempts, waits, lost
    races), and no page was scanned, or the same ones over and over with no effect, it is a *livelock*. If an actor
    was ready at each choice in them and never chosen, it is *starvation*. A strategy may be unfair for a while, as
    PCT is meant to be, but who spins, sleeps or waits has yielded each time; so that much is the fault of somebody
    who never yields. (Of a search, or of the default order, nobody is asked: they are fair to nobody.) If neither can
    be shown, the schedule just was too long, and stays inconclusive.

    What a finding means. `livelock`: in the function the last actor goes round, and nothing that anybody
    may do ends it: GK4 without its test of the swap cache, a retry whose condition nobody changes any more.
    `starvation`: the function is the one in which the starved actor waits for its turn. Not found here: pages that
    are merged and broken again in every scan (S6m); that is progress of a kind, and `convergence` reports it.
    """

    name: ClassVar[str] = "progress"
    summary: ClassVar[str] = "no livelock, no starvation (O15; deadlock is found without a watcher)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._step = self._scanned = self._idle_scans = 0
        for code in range(len(ev.CATALOGUE)):
            if code not in FUTILE:
                machine.trace.listen(code, self._moved)
        machine.trace.listen(ev.KSM_STOP_SCAN, self._scan_ended)

    def _moved(self, *fields: object) -> None:
        self._step, self._scanned = self.kernel.conductor.step, self.kernel.pages_scanned
        self._idle_scans = 0

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
        for actor in conductor.ready if len(turns) == many and conductor.strategy.fair else ():
            if self._starved(actor, turns):
                raise self.finding(
                    "starvation",
                    f"{actor.name} was ready at each of the last {many} choices, and never chosen",
                    where=conductor.places.get(actor.number, "none"),
                    other=actor.number,
                )

    @staticmethod
    def _starved(actor: Actor, turns: list[tuple[int, int]]) -> bool:
        bit = 1 << actor.number
        return all(mask & bit and chosen != actor.number for mask, chosen in turns)
