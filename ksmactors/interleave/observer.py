"""Observers: objects that are notified of every operation of a schedule, in execution order.

`conductor.observe(observer)` registers one; several are called in the order of registration. Without observers this
costs nothing. An observer does not change the schedule: it passes no scheduling point and draws nothing. It may raise a
finding, which ends the schedule.

An actor executes the operation it declared at a point between getting the turn back and its next call of the conductor.
So observers are notified late: when the actor passes the next point, waits, sleeps, spins, wakes or starts an actor,
takes or releases a lock, or ends. No other actor runs in between. Calls of `did` are therefore in exact execution
order, and every other notification comes after the operation that led to it and before the next.

While there are observers, an actor has, beside `op`, the name of the function that declared the operation (`doing`:
`put`), that function's caller (`place`; helpers with a leading underscore are skipped) and the conductor's `step` at
the point. All three still belong to the operation passed to `did`. `locks` are all locks it holds, innermost last.
Observers that are `selective` have less.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from types import FrameType
from typing import ClassVar, Final

from ksmactors.call_stack import caller_of, named
from ksmactors.interleave.actor import Actor, Operation
from ksmactors.seams import PASSED_OVER


class Observer:
    """Base of observers of a schedule. Only the methods that a subclass overrides are called."""

    selective: ClassVar[bool] = False
    """Whether it hears only of accesses and of what orders them, as race detectors do.

    It has no `did` and no `arrived`, ignores looks (YIELD) in `touched`, and reads `doing`, `place` and `step` only in
    `accessed`, in `field`, and in `touched` for READ and WRITE, and `place` in `acquired` too. If all observers are
    like that, looks are not reported, and the rest is not maintained: function names cost more than most reports.
    """

    def did(self, actor: Actor, op: Operation) -> None:
        """`actor` has executed what it declared at a point: in `actor.doing`, for `actor.place`, at step `actor.step`.

        An acquisition (kind ACQUIRE) is an attempt; `acquired` reports success. If the lock was taken, the attempt is
        reported when the actor begins to wait and again when it continues. The same holds for a wait for anything else
        (op[1] is what it waited for: a lock, a wait queue, a timer). A relax is reported as YIELD when it is over.
        """

    def accessed(self, actor: Actor, op: Operation) -> None:
        """As `did`, and called before it, for READ and WRITE operations only."""

    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        """`actor` accesses a field without a scheduling point of its own, as part of its last operation.

        READ and WRITE are plain accesses. RELEASE and ACQUIRE are the two sides of a happens-before edge under a lock
        that is not emulated. An atomic change is a RELEASE too, and a look at it a YIELD: it creates no happens-before
        edge, but the order matters.
        """

    def field(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        """`actor` reads or writes (READ, WRITE) an instrumented field, as part of its last operation.

        Only for structures that are instrumented (`ksm.instrumented`), independent of `touched`: for race
        detectors. A search need not hear it, as long as these find that such fields are ordered by locks.
        """

    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        """`actor` has taken a lock (not in `locks` yet): `shared` with other readers; `tried` if it would not have
        waited."""

    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        """`actor` has released a lock it held `shared` or exclusively. Its waiters have not been woken yet."""

    def woke(self, actor: Actor, woken: Actor) -> None:
        """`actor` has made a blocked actor ready: by an event, a message, or by handing a lock over.

        Not called for a timer that expires.
        """

    def blocked(self, actor: Actor, on: object) -> None:
        """`actor` begins to wait for `on`: a lock, a wait queue, a mailbox, or a nap (a tuple)."""

    def passed(self, actor: Actor, to: Actor) -> None:
        """`actor` gives the turn to another one. It has blocked or ended, or is about to do what it declared last."""

    def spawned(self, actor: Actor | None, child: Actor) -> None:
        """`actor` has started another one; None for the first actor of the schedule."""

    def ended(self, actor: Actor) -> None:
        """`actor` has ended."""

    def arrived(self, actor: Actor) -> None:
        """`actor` calls the conductor again: all it did since the last notification is complete, and no other actor has
        run.

        At a point `actor.op` is the next operation already, and its step is complete. Elsewhere it is DONE: more of
        the same step may follow.
        """


class Users:
    """Decides which accesses to a field count.

    Accesses by functions of `modules` count, directly or through `methods` that are in other modules. Accesses by
    `asides`, functions and methods that only inspect, do not.
    """

    def __init__(self, modules: Container[str], methods: Container[str], asides: Container[str]) -> None:
        self._modules, self._methods, self._asides = modules, methods, asides
        self._known: defaultdict[str, dict[str, str | None]] = defaultdict(dict)
        """Cached results of `_stands_for`, by file and function name: it is needed at every access."""

    def place(self, frame: FrameType) -> str | None:
        """Return the function to which an access is attributed, or None if it does not count."""
        while True:
            code = frame.f_code
            try:
                name = self._known[code.co_filename][code.co_name]
            except KeyError:
                name = self._known[code.co_filename][code.co_name] = self._stands_for(frame)
            if name != _CALLER:
                return named(frame).f_code.co_name if name == _NAMED else name
            frame = caller_of(frame)

    def _stands_for(self, frame: FrameType) -> str | None:
        module, name = frame.f_globals["__name__"], frame.f_code.co_name
        if name in self._asides:
            return None
        if module in self._modules:
            return _NAMED if PASSED_OVER[name] else name
        return _CALLER if module in self._methods else None


_CALLER: Final = ""
"""Of a method: the access is attributed to its caller."""

_NAMED: Final = "?"
"""Of a function that is passed over: the access is attributed to the nearest caller that is not."""
