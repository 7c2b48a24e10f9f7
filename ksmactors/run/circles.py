"""References in circles that a schedule leaves: only the garbage collector would free what they hold.

Without them a schedule's objects go when it does, and the next one is built in the same memory.
"""

from __future__ import annotations

from functools import cache

from ksmactors.interleave.conductor import Conductor
from ksmactors.machine import Machine
from ksmactors.watch.accesses import Detector


def cut_circles(conductor: Conductor, machine: Machine | None) -> None:
    """Take a schedule apart that has ended and is not looked at any more.

    What others refer to is emptied: the kernel, its nodes and its processes. A few small circles stay, of rmap_items
    and of stable nodes with their mappings.

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
    machine.watchers.clear()
    machine.trace.forget_listeners()
    kernel = machine.kernel
    for part in (*kernel.nodes, *kernel.address_spaces, kernel):
        _empty(part)


def _empty(thing: object) -> None:
    """Delete all attributes."""
    cls: type = type(thing)
    for name in _slots(cls):
        if hasattr(thing, name):
            delattr(thing, name)
    getattr(thing, "__dict__", {}).clear()


@cache
def _slots(cls: type) -> tuple[str, ...]:
    return tuple(name for base in cls.__mro__ for name in vars(base).get("__slots__", ()))
