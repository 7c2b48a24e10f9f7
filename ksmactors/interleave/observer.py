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

from collections.abc import Awaitable, Callable, Container
from sys import _getframe
from types import FrameType
from typing import TYPE_CHECKING, Final, Protocol, cast

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.interleave.actor import ACQUIRE, DONE, NOTHING, Actor, Operation
from ksmactors.interleave.no_switch import NO_SWITCH

if TYPE_CHECKING:
    from ksmactors.interleave.turns import Turns


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
        """The function for which a field is used there, helpers with an underscore passed over; None: it does not
        count."""
        known = self._known
        while True:
            code = frame.f_code
            running = code.co_filename, code.co_name
            name = known[running] if running in known else known.setdefault(running, self._stands_for(frame))
            if name != _CALLER:
                break
            frame = frame.f_back  # type: ignore[assignment]  # there is always trio below
        if name is None or name[0] not in "_<":
            return name
        while frame.f_code.co_name[0] in "_<" and frame.f_back is not None:
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


class _Point(Protocol):
    def __call__(self, kind: int, obj: object, field: object = ...) -> Awaitable[None]: ...


class ObserverHub(Observer):
    """All observers of one schedule, as the conductor and the locks see them: one to talk to."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._observers: list[Observer] = []
        self._told: set[tuple[object, object, int]] = set()
        self._told_by: Actor | None = None
        self._told_at = -1
        """Which fields an actor has used at one step."""

    def join(self, observer: Observer) -> None:
        """One more listens, from the next operation on."""
        self._observers.append(observer)
        for name in _CALLS:
            told = [getattr(one, name) for one in self._observers if _listens(one, name)]
            vars(self)[f"_{name}"] = _each(told)

    _did: Callable[[Actor, Operation], None]
    _accessed: Callable[[Actor, Operation], None]
    _touched: Callable[[Actor, int, object, object], None]
    _field: Callable[[Actor, int, object, object], None]
    _acquired: Callable[[Actor, object, bool, bool], None]
    _released: Callable[[Actor, object, bool], None]
    _woke: Callable[[Actor, Actor], None]
    _spawned: Callable[[Actor | None, Actor], None]
    _ended: Callable[[Actor], None]
    _arrived: Callable[[Actor], None]

    def settle(self, actor: Actor) -> None:
        """Tell what the actor that has the turn has done, before something else is told."""
        op = actor.op
        if op is not DONE and op is not NOTHING:
            actor.op = DONE
            if op[0] < ACQUIRE:
                self._tell(self._accessed, actor, op)
            self._tell(self._did, actor, op)
        self._arrived(actor)

    def _tell(self, call: Callable[..., None], *what: object) -> None:
        """A finding of an observer ends the schedule now: nothing that the actor catches can hide it."""
        try:
            call(*what)
        except Finding as finding:
            raise self._turns._failed(finding) from None

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        self.settle(actor)
        caller = _getframe(2)
        while caller.f_code.co_name[0] == "_" and caller.f_back is not None:
            caller = caller.f_back
        actor.doing = actor.place = caller.f_code.co_name
        actor.step = self._turns.step
        try:
            self._touched(actor, kind, obj, field)
        except Finding as finding:
            raise self._turns._failed(finding) from None

    def field_used(self, kind: int, obj: object, field: object, users: Users) -> None:
        """A field has been read or written: told if it was by one of these users; once, however often an operation
        does it."""
        turns, told, access = self._turns, self._told, (obj, field, kind)
        actor, now = turns.turn, turns.step
        if now != self._told_at or actor is not self._told_by:
            self._told_by, self._told_at = actor, now
            told.clear()
        elif access in told:
            return
        place = users.place(_getframe(2))
        if place is None:
            return
        told.add(access)
        self.settle(actor)
        actor.doing = actor.place = place
        actor.step = now
        try:
            self._field(actor, kind, obj, field)
        except Finding as finding:
            raise turns._failed(finding) from None

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool = False, tried: bool = False) -> None:
        self.settle(actor)
        self._tell(self._acquired, actor, lock, shared, tried)
        actor.locks += (lock,)

    @override
    def released(self, actor: Actor, lock: object, shared: bool = False) -> None:
        self.settle(actor)
        held = actor.locks
        actor.locks = held[:-1] if held[-1:] == (lock,) else tuple(one for one in held if one is not lock)
        self._tell(self._released, actor, lock, shared)

    @override
    def woke(self, actor: Actor, woken: Actor) -> None:
        self.settle(actor)
        self._tell(self._woke, actor, woken)

    @override
    def spawned(self, actor: Actor | None, child: Actor) -> None:
        if actor is not None:
            self.settle(actor)
        self._tell(self._spawned, actor, child)

    @override
    def ended(self, actor: Actor) -> None:
        self.settle(actor)
        self._tell(self._ended, actor)

    def point(self) -> _Point:
        """What stands for `Turns.point` while somebody observes: the same, and it tells."""
        turns, accessed, did, arrived = self._turns, self._accessed, self._did, self._arrived
        every, arrives = did is not _nobody, arrived is not _nobody
        getframe = cast("Callable[[int], FrameType]", _getframe)

        def point(kind: int, obj: object, field: object = "") -> Awaitable[None]:
            me = turns.turn
            op = me.op
            if op is not DONE and op is not NOTHING:
                me.op = DONE
                try:
                    if op[0] < ACQUIRE:
                        accessed(me, op)
                    if every:
                        did(me, op)
                except Finding as finding:
                    raise turns._failed(finding) from None
            if arrives:
                arrived(me)
            me.op = op = (kind, obj, field)
            frame = getframe(1)
            me.doing = frame.f_code.co_name
            frame = frame.f_back  # type: ignore[assignment]  # there is always trio below
            place = frame.f_code.co_name
            while place[0] == "_":
                frame = frame.f_back  # type: ignore[assignment]
                place = frame.f_code.co_name
            me.place = place
            left = turns._left - 1
            turns._left = left
            me.step = turns._goal - left
            return NO_SWITCH if left > 0 else turns._decide(op)

        return point


_CALLS: Final = ("did", "accessed", "touched", "field", "acquired", "released", "woke", "spawned", "ended", "arrived")


def _nobody(*what: object) -> None:
    """Nobody wants to hear it."""


def _listens(observer: Observer, name: str) -> bool:
    return getattr(type(observer), name) is not getattr(Observer, name)


def _each(told: list[Callable[..., None]]) -> Callable[..., None]:
    """One function for several; a single one is itself, so that it costs no detour."""
    if len(told) < 2:
        return told[0] if told else _nobody
    if len(told) > 2:
        rest = _each(told[1:])
        return _each([told[0], rest])
    first, second = told

    def tell(*what: object) -> None:
        first(*what)
        second(*what)

    return tell
