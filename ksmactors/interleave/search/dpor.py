"""Source-DPOR with sleep sets (Abdulla, Aronis, Jonsson, Sagonas: Optimal Dynamic Partial Order Reduction, POPL 2014).

Of all schedules with the same order of dependent operations, one is enough. Each schedule is run and its races are
found (`execution_order`). For each race the search makes sure that the other order is explored: at the choice before
the first of the two operations it takes an initial, an actor that could run first in a run without that operation,
unless one of the initials is taken there anyway. An explored actor enters the sleep set of the later branches of its
choice, until an operation that depends on its own is done. A schedule in which only sleeping actors could continue has
been explored already and is cut short.

Assumptions of this search, beyond that actors share only what declared operations and touches report:

- An actor that waits (for a lock, an event, a message) cannot run, and continues after the one that wakes it.
- An actor that waits for a lock need not queue for it (`base.would_block`).
- An actor that spins (`relax`) continues when what it tried without success has changed since it last spun, or when no
  other actor can run. That others might starve it, or that it might retry any number of times before, is not explored.
- Virtual time: an actor that sleeps while others could run wakes among their steps, at a place that depends on how
  many they are. The search then reports that it is no proof.
- When a schedule ends (a finding, the end of the last foreground actor), actors that could continue are also run before
  the operation that ended it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar, Final

from typing_extensions import override

from ksmactors.errors import CutShort
from ksmactors.interleave.actor import ACQUIRE, DONE, NOTHING, WRITE, Actor, Operation
from ksmactors.interleave.concurrent import JoinQueue
from ksmactors.interleave.labels import label_of
from ksmactors.interleave.locks import WaitQueue
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.schedule_string import numbers
from ksmactors.interleave.search.base import Search, Turn, mask_of, would_block
from ksmactors.interleave.search.execution_order import LOOKING, ExecutionOrder, Touch, dependent, touches
from ksmactors.interleave.turns import Turns
from ksmactors.parameters import Bool, Int

TIMED: Final = "actors sleep while others move: when they wake is not enumerated"


class Dpor(Search):
    """Explores one schedule for each order of dependent operations, and few more.

    In unexplored parts of the tree the turn first rotates: in small programs the finely mixed schedules have more
    findings near them. Later it stays with an actor, which switches less often and cuts fewer schedules short.
    """

    name: ClassVar[str] = "dpor"
    summary: ClassVar[str] = "source-DPOR: one schedule for each order of dependent operations"
    thorough = True
    patient = Bool(True, "do not schedule an actor that would only wait for a lock")
    round = Int(8, "choices at the start of a schedule during which the turn rotates", high=1 << 20)
    stage: Turns

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.observer = _DporObserver(self)
        self._cut = False

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._cut = False
        self._asleep = 0
        self._effects: dict[int, tuple[str, ...]] = {}
        self._spinning: dict[int, tuple[Touch, ...]] = {}
        self._tried: dict[int, list[tuple[int, tuple[Touch, ...]]]] = {}
        self._before: dict[int, tuple[Touch, ...]] = {}
        self._alive = 0
        self._sole = True
        self._chosen_at = self._doing = -1
        self._rivals: list[int] = []
        self._aside: set[int] = set()
        self._happened = ExecutionOrder(patient=self.patient)

    @property
    @override
    def fresh(self) -> bool:
        return not self._cut

    # -- choices ----------------------------------------------------------------------------------------------

    @override
    def new_turn(self, ready: Sequence[Actor], current: Actor | None) -> Turn:
        enabled = mask_of([actor for actor in ready if not self._held_up(actor)]) or mask_of(ready)
        awake = enabled & ~self._asleep
        if self._cut or not awake:
            self._cut = True
            raise CutShort
        asleep = {number: self._effects[number] for number in numbers(self._asleep) if number in self._effects}
        chosen = self._first(awake, current)
        return Turn(mask_of(ready), enabled, chosen, self.signs(ready), asleep=self._asleep, effects=asleep)

    def _first(self, awake: int, current: Actor | None) -> int:
        if current is None:
            return (awake & -awake).bit_length() - 1
        if self._place >= self.round and awake >> current.number & 1:
            return current.number
        above = awake >> current.number + 1 << current.number + 1
        return ((above or awake) & -(above or awake)).bit_length() - 1

    @override
    def taken(self, turn: Turn, place: int) -> None:
        self._asleep = (turn.asleep | turn.done) & ~(1 << turn.chosen)
        self._effects = turn.effects
        self._chosen_at = place

    def _held_up(self, actor: Actor) -> bool:
        return actor.number in self._spinning or (self.patient and would_block(actor))

    # -- notifications of the observer -------------------------------------------------------------------------

    def spawned(self, actor: Actor | None, child: Actor) -> None:
        """An actor has started another one."""
        self._happened.start(None if actor is None else actor.number)
        self._alive |= 1 << child.number
        self._sole = actor is None

    def died(self, actor: Actor) -> None:
        """An actor has ended."""
        self._alive &= ~(1 << actor.number)

    def woke(self, actor: Actor, woken: Actor) -> None:
        """An actor has woken another one."""
        waited = woken.waiting_on
        if isinstance(waited, JoinQueue):
            for member in waited.members:
                self._happened.after(woken.number, member.number)
        self._happened.after(woken.number, actor.number)

    def acquired(self, actor: Actor, lock: object) -> None:
        """An actor has taken a lock."""
        if not self._sole:
            self._happened.took(actor.number, lock)

    @override
    def yielded(self, actor: Actor) -> None:
        number = actor.number
        tried = self._tried.pop(number, [])
        if not any(self._happened.changed(number, index, what) for index, what in tried):
            self._spinning[number] = tuple(touch for _, what in tried for touch in what)

    def did(self, actor: Actor, op: Operation) -> None:
        """An actor has done an operation."""
        self._reverse_all()
        self._doing = -1
        if self._cut or self._sole or self._alone_for_good(actor):
            return
        number = self._doing = actor.number
        what = self._touches(actor, op)
        if self._asleep:
            self._stir(actor, what)
        at, self._chosen_at = self._chosen_at, -1
        if isinstance(op[1], tuple):
            self.limits[TIMED] = None
        self._raced(self._happened.add(number, op, what, at))
        self._changed(number, what)
        self._before[number] = what
        self._tried.setdefault(number, []).append((len(self._happened.actors) - 1, what))

    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        """An actor has touched another field as part of its last operation."""
        if self._cut or self._doing != actor.number or isinstance(obj, JoinQueue):  # `woke` orders it
            return
        what: tuple[Touch, ...] = ((obj, field, kind not in LOOKING),)
        if self._asleep:
            self._stir(actor, what)
        self._raced(self._happened.also(what))
        self._aside.add(len(self._happened.actors) - 1)
        self._changed(actor.number, what)
        at = self._happened.nodes[-1]
        if at >= 0:
            turn = self.path[at]
            assert isinstance(turn, Turn)
            known = turn.effects.get(actor.number, ())
            label = _effect(*what[0])
            if label not in known:
                turn.effects[actor.number] = (*known, label)

    def _touches(self, actor: Actor, op: Operation) -> tuple[Touch, ...]:
        what = touches(op)
        if op[0] == ACQUIRE and isinstance(op[1], WaitQueue):  # it reads again what it waited for
            what += self._before.get(actor.number, ())
        return what

    def _stir(self, actor: Actor, what: tuple[Touch, ...]) -> None:
        """Remove from the sleep set the actors whose operation depends on what has been done."""
        if self._asleep >> actor.number & 1:
            self._cut = True
        for number in numbers(self._asleep):
            sleeper = self.stage.actors[number]
            effects = self._effects.get(number)
            if dependent(self._touches(sleeper, sleeper.op), what) or (effects and _depends(what, effects)):
                self._asleep &= ~(1 << number)

    def _changed(self, number: int, what: tuple[Touch, ...]) -> None:
        """Let spinning actors retry if what they tried has changed."""
        if not self._spinning:
            return
        self._spinning.pop(number, None)
        changes = tuple(touch for touch in what if touch[2])
        for spinner, tried in list(self._spinning.items()):
            if not tried or dependent(tried, changes):
                del self._spinning[spinner]

    def _alone_for_good(self, actor: Actor) -> bool:
        """Whether no other actor is left, and all that they did happened before the actor's next operation."""
        if self._alive != 1 << actor.number or not self._happened.settled(actor.number):
            return False
        self._happened.forget()
        self._sole = True
        return True

    # -- races ------------------------------------------------------------------------------------------------

    def _raced(self, rivals: list[int]) -> None:
        if self._place >= self._forced:  # races on the given path were handled when it was first run
            self._rivals += rivals

    def _reverse_all(self) -> None:
        """Schedule the reversal of the races of the last operation, once everything it touched is known."""
        rivals, self._rivals = self._rivals, []
        for rival in rivals:
            self._reverse(rival)

    def _reverse(self, first: int) -> None:
        """Make sure that the last operation comes before an earlier one that it raced with, on another path."""
        happened = self._happened
        place = happened.nodes[first]
        if place < 0:  # no other actor could run then
            return
        turn = self.path[place]
        assert isinstance(turn, Turn)
        last = len(happened.actors) - 1
        if not self._aside.isdisjoint(range(first, last + 1)):  # in another order they may touch other fields
            turn.todo |= turn.enabled & ~(turn.asleep | turn.done | 1 << turn.chosen)
            return
        initials = happened.initials(first, last)
        if initials & (turn.done | turn.todo | turn.asleep | 1 << turn.chosen):
            return
        if initials & turn.ready & ~turn.enabled:  # a spinning actor there has to continue spinning
            return
        initials &= turn.enabled
        if not initials:
            turn.todo |= turn.enabled & ~turn.asleep
        elif initials >> happened.actors[last] & 1:
            turn.todo |= 1 << happened.actors[last]
        else:
            turn.todo |= initials & -initials

    @override
    def advance(self) -> bool:
        stage = self.stage
        last = stage.turn
        if stage.failure is not None and not isinstance(stage.failure, CutShort) and last.op not in (DONE, NOTHING):
            self.did(last, last.op)  # the operation it failed in
        self._reverse_all()
        if not self._cut:
            self._end_others(mask_of([actor for actor in stage.ready if actor is not last]))
        return super().advance()

    def _end_others(self, mask: int) -> None:
        """Make sure that actors that could have continued are also run before the end of the schedule."""
        if not mask:
            return
        for node in reversed(self.path):
            if isinstance(node, Turn):
                node.todo |= node.enabled & ~(node.asleep | node.done | 1 << node.chosen)
                return


def _effect(obj: object, field: object, changes: bool) -> str:
    """Return as text what an operation touched undeclared; it ends with a question mark if it was a read."""
    return label_of((WRITE, obj, field)) + ("" if changes else "?")


def _depends(what: tuple[Touch, ...], effects: tuple[str, ...]) -> bool:
    """Whether what is touched depends on what a sleeping actor touched when it was taken."""
    return any(
        _effect(obj, field, True) in effects or (changes and _effect(obj, field, False) in effects)
        for obj, field, changes in what
    )


class _DporObserver(Observer):
    """Observer of the search, which has other methods of these names because it is a strategy."""

    def __init__(self, search: Dpor) -> None:
        self._search = search

    @override
    def did(self, actor: Actor, op: Operation) -> None:
        self._search.did(actor, op)

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        self._search.touched(actor, kind, obj, field)

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        self._search.acquired(actor, lock)

    @override
    def woke(self, actor: Actor, woken: Actor) -> None:
        self._search.woke(actor, woken)

    @override
    def spawned(self, actor: Actor | None, child: Actor) -> None:
        self._search.spawned(actor, child)

    @override
    def ended(self, actor: Actor) -> None:
        self._search.died(actor)
