"""The common part of the searches: the path through the tree of choices, draws as choices, and where to go next."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from random import Random
from typing import Any, Final, TypeAlias

from typing_extensions import override

from ksmactors.errors import NotDeterministic, ScheduleFormatError
from ksmactors.interleave.actor import ACQUIRE, KIND_NAMES, Actor, Operation
from ksmactors.interleave.labels import label_of
from ksmactors.interleave.locks import Mutex, SpinLock
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.schedule_string import ACTORS_MAX, numbers
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.tape import Tape
from ksmactors.parameters import Int, parameters_of
from ksmactors.quantity import quantity

DRAWS_MAX: Final = 16
"""A draw among more values than this is random, as in any schedule, and not enumerated: its values would be too
many."""


class Turn:
    """A choice of the next actor. Sets of actors are bit masks of their numbers.

    `ready` could be chosen, and `enabled` of these can do their next operation. `chosen` is the current branch, `done`
    those that have been explored and `todo` those that must be. `asleep` (the sleep set) need not be: a schedule that
    starts with one of them has been explored elsewhere. `effects` has, for those `done` or `asleep`, what they touched
    undeclared when they were taken (labels). `free` says that the actor with the turn could not continue, and `signs`
    has each ready actor's next operation.
    """

    __slots__ = ("asleep", "chosen", "done", "effects", "enabled", "free", "ready", "signs", "todo")

    def __init__(
        self, ready: int, enabled: int, chosen: int, signs: tuple[str, ...], *, todo: int = 0, asleep: int = 0,
        free: bool = False, done: int = 0, effects: dict[int, tuple[str, ...]] | None = None,
    ) -> None:  # fmt: skip
        self.ready, self.enabled, self.chosen, self.signs = ready, enabled, chosen, signs
        self.todo, self.asleep, self.free, self.done = todo, asleep, free, done
        self.effects = effects or {}

    @property
    def branches(self) -> tuple[int, int]:
        """Return how many branches have been explored, and how many are known."""
        return self.done.bit_count(), (self.done | self.todo | 1 << self.chosen).bit_count()

    def advance(self) -> bool:
        """Go on to the next branch; False if there is none."""
        self.done |= 1 << self.chosen
        self.todo &= ~self.done
        if not self.todo:
            return False
        self.chosen = (self.todo & -self.todo).bit_length() - 1
        return True

    def saved(self) -> list[Any]:
        """Return the choice as JSON."""
        return [
            self.ready, self.enabled, self.chosen, list(self.signs), self.todo, self.asleep, self.free, self.done,
            [[number, list(labels)] for number, labels in self.effects.items()],
        ]  # fmt: skip


class Draw:
    """A drawn number: `value` is the current branch; smaller ones have been explored."""

    __slots__ = ("label", "n", "value")

    def __init__(self, label: str, n: int, value: int = 0) -> None:
        self.label, self.n, self.value = label, n, value

    @property
    def branches(self) -> tuple[int, int]:
        """Return how many branches have been explored, and how many there are."""
        return self.value, self.n

    def advance(self) -> bool:
        """Go on to the next value; False if there is none."""
        self.value += 1
        return self.value < self.n

    def saved(self) -> list[Any]:
        """Return the draw as JSON."""
        return [self.label, self.n, self.value]


Node: TypeAlias = Turn | Draw


class Search(Strategy):
    """A strategy whose successive schedules together cover all behaviours.

    The protocol: run a schedule with `tape(seed)`; if `fresh`, it differs from all earlier ones; `advance` sets up the
    next one, or returns False. `state` can be saved and given to `restore` of a new object.

    Attributes:
        limits: why a finished search is still no proof, one phrase each.
    """

    draws = Int(DRAWS_MAX, "enumerate draws among at most this many values; others stay random", high=1 << 20)

    fair = False
    observer: Observer | None = None
    """Notified of each operation of the schedule, if the search needs that."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.path: list[Node] = []
        self.limits: dict[str, None] = {}
        self._place = 0
        self._forced = 0

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._place = 0
        self._forced = len(self.path)
        self._signed: dict[int, tuple[Operation, str]] = {}

    def tape(self, seed: int) -> Tape:
        """Return the tape for the next schedule: draws on it are choices too."""
        return _SearchTape(seed, self)

    # -- one schedule -----------------------------------------------------------------------------------------

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        place = self._place
        if place < self._forced:
            turn = self._same_turn(ready)
        else:
            turn = self.new_turn(ready, current)
            self.path.append(turn)
        self._place = place + 1
        self.taken(turn, place)
        return next(actor for actor in ready if actor.number == turn.chosen)

    def draw(self, label: str, n: int) -> int | None:
        """Return the value of a draw, or None if it stays random."""
        if n <= 1:
            return 0
        if n > self.draws:
            self.limits[f"draws of {label!r} among {n} values are not enumerated"] = None
            return None
        if self._place < self._forced:
            node = self._same_draw(label, n)
        else:
            node = Draw(label, n)
            self.path.append(node)
        self._place += 1
        return node.value

    @property
    @abstractmethod
    def fresh(self) -> bool:
        """Whether the last schedule differs from all before it."""

    @abstractmethod
    def new_turn(self, ready: Sequence[Actor], current: Actor | None) -> Turn:
        """Return a choice that no schedule has reached before.

        Raises:
            CutShort: all continuations have been explored.
        """

    def taken(self, turn: Turn, place: int) -> None:
        """Called with the branch that is taken at a place of the path."""

    # -- between schedules ------------------------------------------------------------------------------------

    def advance(self) -> bool:
        """Set up the next schedule; False if all have been explored.

        Raises:
            NotDeterministic: the last schedule ended before the path did that it was to follow.
        """
        if self._place < self._forced:
            raise NotDeterministic(
                self._place, self.stage.step, _describe_node(self.path[self._place], self), "the end"
            )
        while self.path:
            if self.path[-1].advance():
                return True
            self.path.pop()
        return False

    def abandon(self) -> None:
        """Discard the last schedule, which was interrupted: the next one is run in its place."""
        del self.path[self._forced :]

    @property
    def reached(self) -> int | None:
        """Return the bound up to which all schedules have been explored, -1 before the first; None without a bound."""
        return None

    @property
    def branches_left(self) -> int:
        """Return the number of branches that are known and not explored, with the one that is set up.

        Each is a schedule to run. A lower bound of the work left until the search ends, since each may lead to further
        branches.
        """
        return 1 + sum(known - done - 1 for done, known in (node.branches for node in self.path))

    def parameters(self) -> dict[str, Any]:
        """Return its parameters by name."""
        return {name: getattr(self, name) for name in parameters_of(type(self))}

    def state(self) -> dict[str, Any]:
        """Return the state of the search as JSON: between two schedules, after `advance`."""
        return {"path": [node.saved() for node in self.path], "limits": list(self.limits)}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state` of another object.

        Raises:
            ScheduleFormatError: it is no such state.
        """
        try:
            self.path = [_restored(saved) for saved in state["path"]]
            self.limits = dict.fromkeys(state["limits"])
            if not all(isinstance(limit, str) for limit in self.limits):
                raise ValueError("limits are not texts")
        except (KeyError, TypeError, ValueError) as error:
            raise ScheduleFormatError(f"the state of the search makes no sense ({error!r})") from None

    def signs(self, actors: Sequence[Actor]) -> tuple[str, ...]:
        """Return each actor's next operation, as a text that is equal for equal operations."""
        signs = []
        for actor in actors:
            op = actor.op
            known = self._signed.get(actor.number)
            if known is None or known[0] is not op:
                known = self._signed[actor.number] = op, f"{KIND_NAMES[op[0]]} {label_of(op)}"
            signs.append(known[1])
        return tuple(signs)

    # -- determinism checks ----------------------------------------------------------------------------------

    def _same_turn(self, ready: Sequence[Actor]) -> Turn:
        node = self.path[self._place]
        signs = self.signs(ready)
        if not isinstance(node, Turn) or node.ready != mask_of(ready) or node.signs != signs:
            now = _describe_ready([actor.number for actor in ready], signs, self)
            raise NotDeterministic(self._place, self.stage.step, _describe_node(node, self), now)
        if (node.asleep | node.done).bit_length() > len(self.stage.actors):  # an altered path
            now = quantity(len(self.stage.actors), "actor")
            raise NotDeterministic(self._place, self.stage.step, "a sleep set of actors that do not exist", now)
        return node

    def _same_draw(self, label: str, n: int) -> Draw:
        node = self.path[self._place]
        if not isinstance(node, Draw) or (node.label, node.n) != (label, n):
            now = _describe_node(Draw(label, n), self)
            raise NotDeterministic(self._place, self.stage.step, _describe_node(node, self), now)
        return node


class _SearchTape(Tape):
    """A tape whose draws are the search's choices."""

    def __init__(self, seed: int, search: Search) -> None:
        super().__init__(seed)
        self._search = search

    @override
    def draw(self, label: str, n: int) -> int:
        value = self._search.draw(label, n)
        if value is None:
            return super().draw(label, n)
        return self._drawn(label, n, value)


def mask_of(actors: Sequence[Actor]) -> int:
    """Return a bit mask of the actors' numbers."""
    mask = 0
    for actor in actors:
        mask |= 1 << actor.number
    return mask


def would_block(actor: Actor) -> bool:
    """Whether the actor is about to take a lock that another one has: it would only enter the queue.

    The order in which waiters enter the queue does not matter: each order in which they can get the lock is also
    possible if none has queued. So a search does not choose them until the lock is free.
    """
    kind, lock, _ = actor.op
    if kind != ACQUIRE or not isinstance(lock, (Mutex, SpinLock)) or lock.owner is None or lock.owner is actor:
        return False
    return isinstance(lock, SpinLock) or not actor.spin_depth  # sleeping with a spinlock held is reported


def _restored(saved: Any) -> Node:
    """Parse a node of the path.

    Raises:
        ValueError, TypeError: it is no node, or one that no search could have reached.
    """
    if len(saved) == 3:
        label, n, value = saved
        if not (isinstance(label, str) and type(n) is type(value) is int and 0 <= value < n <= 1 << 20):
            raise ValueError("malformed draw")
        return Draw(label, n, value)
    ready, enabled, chosen, signs, todo, asleep, free, done, effects = saved
    masks = (ready, enabled, todo, asleep, done)
    if not all(type(mask) is int and mask >= 0 and mask.bit_length() <= ACTORS_MAX for mask in masks):
        raise ValueError("malformed set of actors")
    if not (type(chosen) is int and 0 <= chosen < ACTORS_MAX and ready >> chosen & 1 and type(free) is bool):
        raise ValueError("malformed choice")
    if (enabled | todo) & ~ready or len(signs) != ready.bit_count() or not all(isinstance(one, str) for one in signs):
        raise ValueError("a choice of an actor that was not ready")
    if done & ~ready:
        raise ValueError("an explored branch that does not exist")
    known = {number: tuple(labels) for number, labels in effects}
    if not all(type(number) is int and all(isinstance(one, str) for one in known[number]) for number in known):
        raise ValueError("malformed effects")
    return Turn(
        ready, enabled, chosen, tuple(signs), todo=todo, asleep=asleep, free=free, done=done, effects=known,
    )  # fmt: skip


def _describe_node(node: Node, search: Search) -> str:
    if isinstance(node, Draw):
        return f"a draw of {node.label!r} from 0..{node.n - 1}"
    return _describe_ready(numbers(node.ready), node.signs, search)


def _describe_ready(ready: Sequence[int], signs: Sequence[str], search: Search) -> str:
    names = {actor.number: actor.name for actor in search.stage.actors}
    each = (
        f"{names.get(number, f'actor {number}')} ({sign.strip()})" for number, sign in zip(ready, signs, strict=True)
    )
    return f"ready {', '.join(each)}"
