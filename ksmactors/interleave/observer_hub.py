"""All observers of one schedule as one object, and the scheduling point that notifies it.

`observer` says which notifications there are, and when.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from sys import _getframe
from types import FrameType
from typing import Final, Protocol, TypeVar, cast

from typing_extensions import override

from ksmactors.call_stack import named
from ksmactors.errors import Finding, KsmActorsError
from ksmactors.interleave.actor import ACQUIRE, DONE, NOTHING, YIELD, Actor, Operation
from ksmactors.interleave.no_switch import NO_SWITCH
from ksmactors.interleave.observer import Observer, Users
from ksmactors.seams import PASSED_OVER

T = TypeVar("T")


class TurnState(Protocol):
    """What the hub needs of `turns.Turns`: the state of a point, and how a schedule fails."""

    turn: Actor
    observers: ObserverHub | None
    _left: int
    _goal: int

    @property
    def step(self) -> int: ...

    def _decide(self, op: Operation) -> Awaitable[None]: ...

    def _failed(self, failure: KsmActorsError) -> KsmActorsError: ...


class _Point(Protocol):
    def __call__(self, kind: int, obj: object, field: object = ...) -> Awaitable[None]: ...


class _Touch(Protocol):
    def __call__(self, kind: int, obj: object, field: object = ...) -> None: ...


class HasObservers(Protocol):
    """A conductor: who is notified, and whether the schedule is over."""

    observers: ObserverHub | None
    over: bool


@contextmanager
def unobserved(turns: HasObservers) -> Iterator[None]:
    """Notify no observer of what is read inside: a watcher or a debugger looks at the machine, not an actor."""
    observers, turns.observers = turns.observers, None
    try:
        yield
    finally:
        if not turns.over:
            turns.observers = observers


class ObserverHub(Observer):
    """Forwards each notification of the conductor and the locks to all observers."""

    def __init__(self, turns: TurnState) -> None:
        self._turns = turns
        self._observers: list[Observer] = []
        self._reported: set[tuple[object, object, int]] = set()
        self._reported_actor: Actor | None = None
        self._reported_step = -1
        """The field accesses reported for one actor at one step."""

    def join(self, observer: Observer) -> None:
        """Add an observer, from the next operation on."""
        self._observers.append(observer)
        for name in _CALLS:
            methods = [getattr(one, name) for one in self._observers if _listens(one, name)]
            setattr(self, f"_{name}", _each(methods))  # by `vars`, every attribute gets slower

        self._arrives = self._arrived is not _ignore
        self._selective = all(one.selective for one in self._observers)

    def find(self, cls: type[T]) -> T | None:
        """Return the observer of a class, or None."""
        return next((one for one in self._observers if isinstance(one, cls)), None)

    _did: Callable[[Actor, Operation], None]
    _accessed: Callable[[Actor, Operation], None]
    _touched: Callable[[Actor, int, object, object], None]
    _field: Callable[[Actor, int, object, object], None]
    _acquired: Callable[[Actor, object, bool, bool], None]
    _released: Callable[[Actor, object, bool], None]
    _woke: Callable[[Actor, Actor], None]
    _blocked: Callable[[Actor, object], None]
    _passed: Callable[[Actor, Actor], None]
    _spawned: Callable[[Actor | None, Actor], None]
    _ended: Callable[[Actor], None]
    _arrived: Callable[[Actor], None]

    def settle(self, actor: Actor) -> None:
        """Report what the running actor has done, before anything else is reported."""
        op = actor.op
        if op is not DONE and op is not NOTHING:
            actor.op = DONE
            try:
                if op[0] < ACQUIRE:
                    self._accessed(actor, op)
                if self._did is not _ignore:
                    self._did(actor, op)
            except Finding as finding:
                raise self._turns._failed(finding) from None
        if self._arrives:
            self._arrived(actor)

    def _notify(self, call: Callable[..., None], *what: object) -> None:
        """Call the observers. A finding ends the schedule now, so that nothing the actor catches can hide it."""
        try:
            call(*what)
        except Finding as finding:
            raise self._turns._failed(finding) from None

    def field_used(self, kind: int, obj: object, field: object, users: Users) -> None:
        """Report a field access by one of these users, once for each operation."""
        turns, reported, access = self._turns, self._reported, (obj, field, kind)
        actor, now = turns.turn, turns._goal - turns._left
        if now != self._reported_step or actor is not self._reported_actor:
            self._reported_actor, self._reported_step = actor, now
            reported.clear()
        elif access in reported:
            return
        place = users.place(_getframe(2))
        if place is None:
            return
        reported.add(access)
        if actor.op is not DONE or self._arrives:
            self.settle(actor)
        actor.doing = actor.place = place
        actor.step = now
        try:
            self._field(actor, kind, obj, field)
        except Finding as finding:
            raise turns._failed(finding) from None

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool = False, tried: bool = False) -> None:
        if actor.op is not DONE or self._arrives:
            self.settle(actor)
        try:
            self._acquired(actor, lock, shared, tried)
        except Finding as finding:
            raise self._turns._failed(finding) from None
        actor.locks += (lock,)

    @override
    def released(self, actor: Actor, lock: object, shared: bool = False) -> None:
        if actor.op is not DONE or self._arrives:
            self.settle(actor)
        held = actor.locks
        actor.locks = held[:-1] if held and held[-1] is lock else tuple(one for one in held if one is not lock)
        try:
            self._released(actor, lock, shared)
        except Finding as finding:
            raise self._turns._failed(finding) from None

    @override
    def woke(self, actor: Actor, woken: Actor) -> None:
        self.settle(actor)
        self._notify(self._woke, actor, woken)

    @override
    def blocked(self, actor: Actor, on: object) -> None:
        self.settle(actor)
        self._notify(self._blocked, actor, on)

    @override
    def passed(self, actor: Actor, to: Actor) -> None:
        if self._passed is not _ignore:
            self._notify(self._passed, actor, to)

    @override
    def spawned(self, actor: Actor | None, child: Actor) -> None:
        if actor is not None:
            self.settle(actor)
        self._notify(self._spawned, actor, child)

    @override
    def ended(self, actor: Actor) -> None:
        self.settle(actor)
        self._notify(self._ended, actor)

    def point(self) -> _Point:
        """Return what replaces `Turns.point` while there are observers: the same, with notifications."""
        return self._selective_point() if self._selective else self._full_point()

    def _full_point(self) -> _Point:
        turns, accessed, did, arrived = self._turns, self._accessed, self._did, self._arrived
        every, arrives = did is not _ignore, self._arrives
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
            me.op = op = (kind, obj, field)
            me.doing = getframe(1).f_code.co_name
            frame = getframe(2)
            name = frame.f_code.co_name
            me.place = named(frame).f_code.co_name if PASSED_OVER[name] else name
            if arrives:
                arrived(me)
            left = turns._left - 1
            turns._left = left
            me.step = turns._goal - left
            return NO_SWITCH if left > 0 else turns._decide(op)

        return point

    def _selective_point(self) -> _Point:
        """Return the point for observers that are all `selective`: only accesses are reported, and need names."""
        turns, accessed = self._turns, self._accessed
        getframe = cast("Callable[[int], FrameType]", _getframe)

        def point(kind: int, obj: object, field: object = "") -> Awaitable[None]:
            me = turns.turn
            op = me.op
            if op is not DONE and op is not NOTHING:
                me.op = DONE
                if op[0] < ACQUIRE:
                    try:
                        accessed(me, op)
                    except Finding as finding:
                        raise turns._failed(finding) from None
            left = turns._left - 1
            turns._left = left
            if kind <= ACQUIRE:
                frame = getframe(2)
                name = frame.f_code.co_name
                me.place = named(frame).f_code.co_name if PASSED_OVER[name] else name
                if kind != ACQUIRE:
                    me.op = (kind, obj, field)
                    me.doing = getframe(1).f_code.co_name
                    me.step = turns._goal - left
            return NO_SWITCH if left > 0 else turns._decide((kind, obj, field))

        return point

    def touch(self) -> _Touch:
        """Return what replaces `Turns.touch` while there are observers."""
        turns, touched, arrives, selective = self._turns, self._touched, self._arrives, self._selective
        getframe = cast("Callable[[int], FrameType]", _getframe)

        def touch(kind: int, obj: object, field: object = "") -> None:
            if turns.observers is None:  # `unobserved`
                return
            actor = turns.turn
            if actor.op is not DONE or arrives:
                self.settle(actor)
            if kind < ACQUIRE or not selective:
                frame = getframe(1)
                name = frame.f_code.co_name
                actor.doing = actor.place = named(frame).f_code.co_name if PASSED_OVER[name] else name
                actor.step = turns._goal - turns._left
            elif kind == YIELD:
                return
            try:
                touched(actor, kind, obj, field)
            except Finding as finding:
                raise turns._failed(finding) from None

        return touch


_CALLS: Final = (
    "did", "accessed", "touched", "field", "acquired", "released", "woke", "blocked", "passed", "spawned", "ended",
    "arrived",
)  # fmt: skip


def _ignore(*what: object) -> None:
    """Stands for a notification that no observer takes."""


def _listens(observer: Observer, name: str) -> bool:
    return getattr(type(observer), name) is not getattr(Observer, name)


def _each(methods: list[Callable[..., None]]) -> Callable[..., None]:
    """Return one function that calls several; a single one is returned as it is, which saves a call."""
    if len(methods) < 2:
        return methods[0] if methods else _ignore
    if len(methods) > 2:
        rest = _each(methods[1:])
        return _each([methods[0], rest])
    first, second = methods

    def call_both(*what: object) -> None:
        first(*what)
        second(*what)

    return call_both
