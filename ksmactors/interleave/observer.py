"""Who wants to know what is done, in the order in which it is done: the observers of a schedule.

`conductor.observe(observer)` lets one listen from now on; there may be several, told in the order in which they came.
Nothing of this costs anything while nobody observes, and an observer changes no schedule: it passes no point and draws
nothing. It may raise a finding, which ends the schedule like any other.

What an actor declares at a point is done between the moment at which the turn comes back to it and its next call of
the conductor. So an operation is told late, when its actor passes the next point, waits, sleeps, spins, wakes or starts
somebody, takes or releases a lock, or ends; until then nobody else has moved. The order in which `did` is called is
therefore exactly the order in which the operations were done, and whatever else an observer is told comes after the
operation that led to it, and before the next.

While somebody observes, an actor has beside `op` the name of the function that declared it (`doing`: `put`), the
function that it was called from (`place`, helpers with an underscore passed over) and the conductor's `step` at its
point. All three still belong to the operation that `did` tells. `locks` are all the locks it holds, innermost last.
"""

from __future__ import annotations

from collections.abc import Container
from types import FrameType
from typing import Final

from ksmactors.interleave.actor import Actor, Operation
from ksmactors.seams import is_passed_over


class Observer:
    """Listens to a schedule. A subclass overrides what it wants to hear: the rest is not called at all."""

    def did(self, actor: Actor, op: Operation) -> None:
        """`actor` has done what it declared at a point: by `actor.doing`, for `actor.place`, at step `actor.step`.

        An acquisition (kind ACQUIRE) is an attempt: whether it led to anything, `acquired` says. One that found the
        lock taken is told when the actor begins to wait, and once more when it goes on after that; so is a wait for
        anything else (op[1] is what it waited for: a lock, a wait queue, a nap). A relax is told as YIELD when it is
        over.
        """

    def accessed(self, actor: Actor, op: Operation) -> None:
        """As `did`, and before it, for those operations that read or write (kinds READ and WRITE)."""

    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        """`actor` touches a field without a point of its own, as a part of what it did last.

        Kinds READ and WRITE are accesses; RELEASE and ACQUIRE say that it leaves something there for others, or takes
        up what others have left, under a lock that is not emulated. RELEASE is also for who changes what is atomic,
        and YIELD for who looks at that: it orders nobody, but matters who comes first.
        """

    def field(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        """`actor` reads or writes (READ, WRITE) a field that says so itself, as a part of what it did last.

        Told only of structures that have been made to (see `ksm.declared`), beside and apart from `touched`: for race
        detectors. A search need not hear it, as long as these find that such fields are ordered by locks.
        """

    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        """`actor` has got a lock (which is not in `locks` yet); `shared` with other readers, `tried`: it would not have
        waited for it."""

    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        """`actor` has given a lock back that it had `shared` or alone. Who waits for it has not been woken yet."""

    def woke(self, actor: Actor, woken: Actor) -> None:
        """`actor` has made another one ready that was blocked: by an event, a message, or by handing a lock over.

        Who wakes because its time has come is woken by nobody.
        """

    def blocked(self, actor: Actor, on: object) -> None:
        """`actor` begins to wait for `on`: a lock, a wait queue, a mailbox, or a nap (a tuple)."""

    def passed(self, actor: Actor, to: Actor) -> None:
        """`actor` gives the turn to another one. It has blocked or ended, or is about to do what it declared last."""

    def spawned(self, actor: Actor | None, child: Actor) -> None:
        """`actor` has started another one; None: the first actor of the schedule comes to life."""

    def ended(self, actor: Actor) -> None:
        """`actor` has come to its end."""

    def arrived(self, actor: Actor) -> None:
        """`actor` comes back to the conductor: all that it has done since it was last heard of is done, and what it
        does next is told next. The turn has not passed to anybody else in between."""


class Users:
    """Whose use of a field counts: that of functions of some modules, done by themselves or through methods that are in
    others; but not that of `asides`, functions and methods which look on behalf of those who only watch."""

    def __init__(self, modules: Container[str], methods: Container[str], asides: Container[str]) -> None:
        self._modules, self._methods, self._asides = modules, methods, asides
        self._known: dict[tuple[str, str], str | None] = {}
        """By file and name of what is running, what `_stands_for` says of it: it is asked at every access."""

    def place(self, frame: FrameType) -> str | None:
        """The function for which a field is used there, or None if it does not count."""
        known = self._known
        while True:
            code = frame.f_code
            running = code.co_filename, code.co_name
            name = known[running] if running in known else known.setdefault(running, self._stands_for(frame))
            if name != _CALLER:
                break
            frame = frame.f_back  # type: ignore[assignment]  # there is always trio below
        if name is None or not is_passed_over(name):
            return name
        while is_passed_over(frame.f_code.co_name) and frame.f_back is not None:
            frame = frame.f_back
        return frame.f_code.co_name

    def _stands_for(self, frame: FrameType) -> str | None:
        module, name = frame.f_globals["__name__"], frame.f_code.co_name
        if name in self._asides:
            return None
        if module in self._modules:
            return name
        return _CALLER if module in self._methods else None


_CALLER: Final = ""
"""Of a method: it depends on who calls it."""
