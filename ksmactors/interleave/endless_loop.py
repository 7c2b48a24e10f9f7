"""Loops of the emulated kernel that pass no point: the conductor cannot end them, since they never ask it.

A variant makes such a loop if it leaves an entry in a list that its caller empties. The process would run for ever, and
say nothing. So a timer of CPU time looks at where the actor is that has the turn. How often the loop goes around until
then differs from run to run, but nothing that is recorded depends on that, unless the loop records events.

The function that loops is the innermost one that has not returned from one look to the next. If that is no function of
the kernel, but a watcher's, say, it only takes long.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from ksmactors.call_stack import ENDLESS_LOOP, callers, is_kernels, kernel_function
from ksmactors.errors import Finding
from ksmactors.interleave.conductor import Conductor, current_conductor
from ksmactors.places import KERNEL

SECONDS: Final = 5.0
"""CPU time between two looks. Two in the same step make a finding. The longest step of a machine with 50,000 pages,
from its boot to the exit of its process, took 0.09 s."""


@contextmanager
def ended_by_timer() -> Iterator[None]:
    """End a schedule in this context whose kernel loops within one step. Does nothing outside of the main thread, or if
    the timer is in use."""
    in_use = signal.getsignal(signal.SIGVTALRM) is not signal.SIG_DFL
    if threading.current_thread() is not threading.main_thread() or in_use:
        yield
        return
    signal.signal(signal.SIGVTALRM, _Looks().look)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, signal.SIG_DFL)


class _Looks:
    """The schedule under way when the timer last went off: its step, and the frames of the actor that had the turn."""

    def __init__(self) -> None:
        self._conductor: Conductor | None = None
        self._step = -1
        self._frames: list[FrameType] = []

    def look(self, _: int, frame: FrameType | None) -> None:
        """The signal handler: it runs between two instructions of the actor that has the turn.

        Raises:
            Finding: the actor was in the same step at the last look, and it is the kernel that goes around.
        """
        conductor, frames = current_conductor(), list(callers(frame))
        if conductor is None or conductor.over:
            self._conductor, self._frames = None, []
            return
        if conductor is self._conductor and conductor.step == self._step:
            loop = next((one for one in frames if any(one is other for other in self._frames)), None)
            if loop is not None and (is_kernels(loop) or loop.f_code.co_filename.startswith(KERNEL)):
                where = kernel_function(callers(loop))
                message = f"{conductor.turn.name} is in {where} for ever: it passes no point any more"
                raise conductor._failed(Finding("structure", ENDLESS_LOOP, where, message))
        self._conductor, self._step, self._frames = conductor, conductor.step, frames
