"""Targeted restarts: postpone actors at the steps that the finding depends on, in schedules that are quiet otherwise.

A random schedule that finds something has hundreds of departures, and few of them matter. What matters are orders
between conflicting steps: this page was moved before that reference was taken. Take the orders that the finding depends
on, forget when they happened and to which object, and keep what a step is: its operation, the kind of its object and
its kernel function. Run the default order, but stop an actor that is about to do the later step of some of these orders
until another actor has done the earlier one to the same object. Such a schedule has few departures from the start, and
it is as good for a smaller workload. Which orders lead there is found out by trying; sets that did are changed further.

After race-directed random testing (Sen: Race Directed Random Testing of Concurrent Programs, PLDI 2008), with orders
of one finding in place of all suspected races.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Final, NamedTuple

from typing_extensions import override

from ksmactors.diagnose.orders import Conflicts, Events, Occurrence, Order
from ksmactors.diagnose.restarts import READABLE_DEPARTURES, smaller_subjects
from ksmactors.diagnose.trying import Trials
from ksmactors.interleave.actor import ACQUIRE, RELEASE, Actor, Operation
from ksmactors.interleave.labels import label_of
from ksmactors.interleave.strategies.base import Strategy, below
from ksmactors.run.subject import Subject

CHOICES_MAX: Final = 300
"""Choices for which an actor is postponed, at most."""

WINDOW_MIN: Final = 8
WINDOWS: Final = 5
"""Orders are taken from the last 8, 16, ... 128 of those that the finding depends on, or from all of them."""

RULES_MAX: Final = 4
"""Orders that are enforced at once, at most: few findings need more."""

POOL: Final = 8
"""Sets of orders that led to the finding with the fewest departures, to be changed further."""

NOISE: Final = (0, 0, 16, 48)
"""Choices for each random one: without any, some workloads show nothing new."""

TENTH: Final = 10

UNCOUNTED: Final = Occurrence("", "", 0)


class StepKind(NamedTuple):
    """What a step is, whenever and to whatever it happens: kind of operation, kind of its object, kernel function."""

    operation: int
    obj: str
    function: str


class Pair(NamedTuple):
    """One kind of step before another one; `same`: on the same object."""

    before: StepKind
    after: StepKind
    same: bool


class Postponement(NamedTuple):
    """A pair that is enforced: the later step waits when it is due for the time after `skipped`, or each time from
    then on."""

    pair: Pair
    skipped: int
    each: bool


class Steps(Conflicts):
    """Conflicts with what each event is.

    Attributes:
        kinds: the kind of each event, and the label of its object.
        times: how often each kind of step happened.
        under: the locks that its actor held alone at each event, by label: when they were acquired.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[Occurrence, tuple[StepKind, str]] = {}
        self.times: Counter[StepKind] = Counter()
        self.under: dict[Occurrence, dict[str, Occurrence]] = {}
        self._held: dict[int, dict[str, Occurrence]] = {}
        self._woken: dict[str, list[tuple[int, Occurrence]]] = {}

    @override
    def add(self, actor: Actor, op: Operation) -> Occurrence:
        event = super().add(actor, op)
        kind = kind_of(actor, op)
        self.kinds[event] = kind, label_of(op)
        self.times[kind] += 1
        self.under[event] = self._held.get(actor.number, {})
        return event

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        super().acquired(actor, lock, shared, tried)
        label = label_of((ACQUIRE, lock, ""))
        if label and not shared:
            held = self._held.get(actor.number, {})
            self._held[actor.number] = {**held, label: self._latest[actor.number]}

    @override
    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        super().released(actor, lock, shared)
        label = label_of((RELEASE, lock, ""))
        held = self._held.get(actor.number, {})
        self._held[actor.number] = {one: since for one, since in held.items() if one != label}

    @override
    def woke(self, actor: Actor, woken: Actor) -> None:
        event = self._latest.get(actor.number)
        if event is not None:
            self._woken.setdefault(woken.name, []).append((len(self.position), event))

    def pairs(self, actor: str) -> list[Pair]:
        """The pairs that an actor's last event depends on, each once, the latest first."""
        orders = sorted(self._needed(actor), key=lambda order: (-self.position[order.after], order))
        return list(dict.fromkeys(pair for order in orders for pair in self._pair(order)))

    def _pair(self, order: Order) -> Iterator[Pair]:
        """What an order is, if its later step can wait. Steps under one lock: that is acquired after the earlier."""
        (earlier, its), (later, other) = self.kinds[order.before], self.kinds[order.after]
        before = self.under[order.before]
        common = next((since for label, since in self.under[order.after].items() if label in before), None)
        if common is not None:
            later, other = self.kinds[common]
        if later.operation != RELEASE:
            yield Pair(earlier, later, its == other)

    def _needed(self, actor: str) -> list[Order]:
        """The orders that happened before an actor's last event."""
        incoming: dict[str, list[tuple[int, Order]]] = {}
        for order in self.orders:
            incoming.setdefault(order.after.actor, []).append((self.position[order.after], order))
        needed: list[Order] = []
        reached: dict[str, int] = {}
        ahead = [(actor, len(self.position))]
        while ahead:
            name, until = ahead.pop()
            since, reached[name] = reached.get(name, -1), max(until, reached.get(name, -1))
            for position, order in incoming.get(name, ()):
                if since < position <= until:
                    needed.append(order)
                    ahead.append((order.before.actor, self.position[order.before]))
            ahead += [
                (event.actor, self.position[event])
                for position, event in self._woken.get(name, ())
                if since < position <= until
            ]
        return needed


def kind_of(actor: Actor, op: Operation) -> StepKind:
    """What an actor does, or is about to do."""
    return StepKind(op[0], label_of(op).partition("/")[0], actor.place)


@dataclass(slots=True)
class _Postponed:
    """An actor that waits for a step of a kind, by another one, on the object with this label (""; on any)."""

    until: StepKind
    label: str
    left: int = CHOICES_MAX


class Postponing(Strategy):
    """The default order, but actors wait as rules say. Who waits goes on when no other actor can, or after
    `CHOICES_MAX` choices.

    Args:
        rules: which steps wait for which.
        every: at one choice in so many, any actor that does not wait goes on; 0: never.
        seed: draws these.
    """

    name: ClassVar[str] = "postponing"
    summary: ClassVar[str] = "the default order, but given kinds of steps wait for others"
    fair = False

    def __init__(self, rules: Sequence[Postponement], every: int = 0, seed: int = 0) -> None:
        super().__init__()
        self._every, self._seed = every, seed
        self._rules: dict[StepKind, list[Postponement]] = {}
        for rule in rules:
            self._rules.setdefault(rule.pair.after, []).append(rule)
        self._places = {(kind.operation, kind.function) for kind in self._rules}

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._waiting: dict[int, _Postponed] = {}
        self._due: Counter[Postponement] = Counter()
        self._seen: dict[int, int] = {}
        self._noise = Random(self._seed)

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        turn = self.stage.turn
        if self._seen.get(turn.number) != self.stage.own_step:  # each step of an actor is looked at once
            self._seen[turn.number] = self.stage.own_step
            self._look_at(turn)
        default = ready[0] if current is None else current
        if self._every and not below(self._noise, self._every):
            able = [actor for actor in ready if actor.number not in self._waiting]
            default = able[below(self._noise, len(able))] if able else default
        waits = self._waiting.get(default.number)
        if waits is None:
            return default
        waits.left -= 1
        free = next((actor for actor in ready if actor.number not in self._waiting), None)
        if waits.left < 0 or free is None:
            del self._waiting[default.number]
            return default
        return free

    def _look_at(self, actor: Actor) -> None:
        """An actor has come to its next step: it waits if a rule says so."""
        if (actor.op[0], actor.place) not in self._places:  # asked at each step, and cheaper than the kind
            return
        for rule in self._rules.get(kind_of(actor, actor.op), ()):
            due = self._due[rule]
            self._due[rule] += 1
            if due == rule.skipped or (rule.each and due > rule.skipped):
                self._waiting[actor.number] = _Postponed(rule.pair.before, label_of(actor.op) if rule.pair.same else "")
                return

    def happened(self, actor: Actor, op: Operation) -> None:
        """An actor has done a step: those who waited for it may go on."""
        for number, waits in list(self._waiting.items()):
            if waits.until.function != actor.place or number == actor.number or waits.until != kind_of(actor, op):
                continue
            if waits.label in ("", label_of(op)):
                del self._waiting[number]


class StepListener(Events):
    """Tells a strategy of each step, and counts none."""

    def __init__(self, deciding: Postponing) -> None:
        super().__init__()
        self._deciding = deciding

    @override
    def add(self, actor: Actor, op: Operation) -> Occurrence:
        self._deciding.happened(actor, op)
        return UNCOUNTED


class _Try(NamedTuple):
    """What is tried: rules, how many choices there are for each random one, and a subject; and how many departures it
    took to the finding, if it led there."""

    rules: tuple[Postponement, ...]
    every: int
    subject: Subject
    departures: int = 0


async def targeted(trials: Trials, tries: int, seed: int) -> None:
    """While there are too many departures to read, try so many targeted schedules. `seed` draws which."""
    if len(trials.departures) <= READABLE_DEPARTURES:
        return
    steps = Steps()
    if not await trials.watch(steps):
        return
    actors = trials.outcome.defect.actors if trials.outcome.defect is not None else ()
    pairs = steps.pairs(actors[0]) if actors else []
    if pairs:
        search = _RestartSearch(Random(seed), pairs, steps.times, trials)
        for _ in range(tries):
            if len(trials.departures) <= READABLE_DEPARTURES:
                break
            await search.one()
    await trials.confirm()


class _RestartSearch:
    """Draws sets of rules, and remembers those that led to the finding.

    Args:
        rng: draws.
        pairs: that the finding depends on, the latest first.
        times: how often each kind of step happened.
        trials: what is to be shrunk.
    """

    def __init__(self, rng: Random, pairs: Sequence[Pair], times: Counter[StepKind], trials: Trials) -> None:
        self._rng, self._pairs, self._times, self._trials = rng, pairs, times, trials
        self._smaller = smaller_subjects(trials.best.subject)
        self._pool: list[_Try] = []

    async def one(self) -> None:
        """Try one set of rules."""
        drawn = self._drawn()
        deciding = Postponing(drawn.rules, drawn.every, self._rng.getrandbits(32))
        taken = await self._trials.decide(deciding, StepListener(deciding), drawn.subject)
        if taken is not None:
            self._pool.append(drawn._replace(departures=taken))
            self._pool.sort(key=lambda one: (one.departures, len(one.rules)))
            del self._pool[POOL:]

    def _drawn(self) -> _Try:
        rng = self._rng
        if self._pool and below(rng, TENTH) < 6:
            return self._changed(self._pool[_low(rng, len(self._pool))])
        subject = self._trials.best.subject
        if self._smaller and below(rng, TENTH) < 4:
            subject = self._smaller[below(rng, len(self._smaller))]
        rules = tuple(self._rule() for _ in range((1, 1, 2, 2, 3)[below(rng, 5)]))
        return _Try(rules, NOISE[below(rng, len(NOISE))], subject)

    def _changed(self, one: _Try) -> _Try:
        """One rule fewer, at another time or more; fewer random choices; or the same rules for a smaller workload."""
        rng, rules, subject = self._rng, list(one.rules), one.subject
        every = 3 * one.every // 2 if below(rng, 2) else one.every
        place = below(rng, len(rules))
        what = below(rng, TENTH)
        if what < 4 and len(rules) > 1:
            del rules[place]
        elif what < 7:
            rules[place] = self._at(rules[place].pair)
        elif what < 9 and self._smaller:
            subject = self._smaller[below(rng, len(self._smaller))]
        elif len(rules) < RULES_MAX:
            rules.append(self._rule())
        return _Try(tuple(rules), every, subject)

    def _rule(self) -> Postponement:
        """A pair, more likely one of the last ones, enforced at some time."""
        rng = self._rng
        window = below(rng, WINDOWS + 2)
        among = len(self._pairs) if window >= WINDOWS else min(WINDOW_MIN << window, len(self._pairs))
        return self._at(self._pairs[below(rng, among)])

    def _at(self, pair: Pair) -> Postponement:
        rng = self._rng
        skipped = below(rng, self._times[pair.after]) if below(rng, 2) else 0
        return Postponement(pair, skipped, bool(below(rng, 2)))


def _low(rng: Random, n: int) -> int:
    """A number below n, more likely a low one."""
    return below(rng, 1 + below(rng, n))
