"""References in circles that a schedule leaves: only the garbage collector would free what they hold.

Without them a schedule's objects go when it does, and the next one is built in the same memory.
"""

from __future__ import annotations

from ksmactors.interleave.conductor import Conductor
from ksmactors.machine import Machine
from ksmactors.watch.accesses import Detector


def cut_circles(conductor: Conductor, machine: Machine | None) -> None:
    """Take a schedule apart that has ended and that nobody looks at any more.

    Args:
        conductor: of the schedule. Searches ask it for its actors until they have gone on (`Search.advance`).
        machine: the emulated machine, if there was one.
    """
    conductor.forget_actors()
    if machine is None:
        return
    for watcher in machine.watchers:
        if isinstance(watcher, Detector):
            watcher.history.forget()
    machine.forget()
