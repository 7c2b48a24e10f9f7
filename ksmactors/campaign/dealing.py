"""Dealing: which workload and which strategy the schedule of a seed is run with.

By default the seeds are dealt to the workloads in turn. `AdaptiveDeal` follows where new interleavings still appear.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from struct import unpack
from typing import Any, Final, NamedTuple, Protocol

from ksmactors.campaign.blocks import SCHEDULES_MAX, Arm, Block
from ksmactors.errors import UsageError
from ksmactors.escaping import quoted
from ksmactors.interleave.strategies.portfolio import SHARES, Portfolio
from ksmactors.interleave.strategies.registry import dealt, parse
from ksmactors.run.extensions import need_strategy

EQUAL: Final = "equal"
"""The budget in which each workload gets as many seeds as any other."""

ADAPTIVE: Final = "adaptive"
"""The budget that follows where new interleavings still appear."""

BUDGETS: Final = (EQUAL, ADAPTIVE)

HAND: Final = 5
"""Consecutive seeds that are dealt together: a draw for each seed would cost as much as a short schedule."""

ROUND_MIN: Final = 60
"""Seeds in the first rounds. Each workload gets one hand at least in the first round, so it may be longer."""

GROWTH: Final = 8
"""A later round has one in this many of the seeds before it, so that many processes rarely wait for one."""

IN_TURN: Final = 8
"""One hand in this many is dealt in turn, so that no workload and no strategy is ever given up."""

CERTAINTY: Final = 40
"""Schedules that an estimate counts as at most: with more, a draw would hardly ever differ from the estimate."""

LESSONS_LOOKED_AT: Final = 1000
"""Seeds for which a strategy is asked whether it learns from others."""

_WORD: Final = 32
"""Bits of a drawn number."""


class Deal(Protocol):
    """Says what each seed is run with."""

    def of(self, seed: int) -> Arm:
        """What a seed is run with."""
        ...


@dataclass(slots=True)
class InTurn:
    """The seeds are dealt to the workloads in turn: seed s runs workload number s mod `workloads`."""

    workloads: int
    strategy: str
    _text: str | None = None

    def of(self, seed: int) -> Arm:
        """What a seed is run with."""
        if self._text is None:
            self._text = dealt(self.strategy, self.workloads)
        return Arm(seed % self.workloads, self._text)


class AsGiven(NamedTuple):
    """Seeds from `first` on, with what each is run with."""

    first: int
    arms: Sequence[Arm]

    def of(self, seed: int) -> Arm:
        """What a seed is run with."""
        return self.arms[seed - self.first]


class Share(NamedTuple):
    """What is known of an arm: its schedules, and those among them whose interleaving no other schedule has shown."""

    schedules: int = 0
    once: int = 0


@dataclass(slots=True)
class Interleavings:
    """Those that a workload has shown: each with the number of its strategy, or -1 if two schedules or more had it."""

    by_strategy: list[Share]
    shapes: dict[bytes, int] = field(default_factory=dict)

    def note(self, strategy: int, shape: bytes) -> None:
        """Count a schedule of a strategy, by its number."""
        before = self.shapes.get(shape)
        self._add(strategy, schedules=1, once=before is None)
        if before is None:
            self.shapes[shape] = strategy
        elif before >= 0:
            self._add(before, schedules=0, once=-1)
            self.shapes[shape] = -1

    def _add(self, strategy: int, *, schedules: int, once: int) -> None:
        share = self.by_strategy[strategy]
        self.by_strategy[strategy] = Share(share.schedules + schedules, share.once + once)


class AdaptiveDeal:
    """Deals more seeds to the workloads and strategies that still show new interleavings: a bandit of two levels.

    The reward of a schedule is an interleaving that its workload has not shown before. The probability that the next
    schedule of an arm is rewarded is estimated as Good and Turing do ("The population frequencies of species and the
    estimation of population parameters", Biometrika 40, 1953): the share of its schedules whose interleaving no other
    schedule of the workload has shown. It falls by itself as a workload is exhausted, so nothing has to be forgotten.

    Thompson sampling ("On the likelihood that one unknown probability exceeds another", Biometrika 25, 1933) decides.
    For each workload a number is drawn from the Beta distribution that its schedules leave, and the greatest one wins;
    then the same for the strategies of this workload. What was not tried yet comes first. An estimate counts as at most
    CERTAINTY schedules. One hand in IN_TURN is dealt to all arms in turn.

    Decisions come in rounds. Those of a round depend on the results of all rounds but the one before it, so other
    processes have work while a round ends (batched bandits: Perchet, Rigollet, Chassang and Snowberg, Annals of
    Statistics 44, 2016). The first two rounds are dealt in turn. A draw depends on the seed and on these results alone.
    All numbers are integers: a Beta variate is an order statistic of drawn words. So the same command deals the same
    way with any number of processes and after any interruption.

    Args:
        workloads: how many there are.
        strategies: the strategies, as text; none may learn from other seeds.
        first: the first seed of the campaign.
    """

    def __init__(self, workloads: int, strategies: Sequence[str], first: int) -> None:
        self.workloads = workloads
        self.strategies = tuple(strategies)
        self._seen = [Interleavings([Share()] * len(self.strategies)) for _ in range(workloads)]
        self._first = first
        self._ends = list[int]()  # of rounds, as far as they are known
        self._known: dict[int, list[list[Share]]] = {}
        self._learned = first
        self._open: dict[int, Arm] = {}

    # -- rounds -------------------------------------------------------------------------------------------------------

    def _round_of(self, seed: int) -> int:
        """The round of a seed."""
        while not self._ends or self._ends[-1] <= seed:
            start = self._ends[-1] if self._ends else self._first
            size = max(ROUND_MIN, HAND * self.workloads, (start - self._first) // GROWTH)
            self._ends.append((start + size + SCHEDULES_MAX - 1) // SCHEDULES_MAX * SCHEDULES_MAX)
        return bisect_right(self._ends, seed)

    def decided(self, seeds: range) -> bool:
        """Whether it can be said what these seeds are run with."""
        return self._round_of(seeds[-1]) < 2 or self._round_of(seeds[-1]) in self._known

    def within_a_round(self, seeds: range) -> bool:
        """Whether all of these seeds are dealt at the same time."""
        return self._round_of(seeds[0]) == self._round_of(seeds[-1])

    # -- dealing ------------------------------------------------------------------------------------------------------

    def deal(self, seeds: range) -> tuple[Arm, ...]:
        """Decide what some seeds of one round are run with; `of` knows it until they are learned from."""
        known = self._known.get(self._round_of(seeds[0]))
        dealt_to: dict[int, Arm] = {}
        for seed in seeds:
            hand = seed // HAND
            if hand not in dealt_to:
                dealt_to[hand] = self._in_turn(hand) if known is None else self._drawn(hand, known)
            self._open[seed] = dealt_to[hand]
        return tuple(self._open[seed] for seed in seeds)

    def of(self, seed: int) -> Arm:
        """What a seed is run with that was dealt."""
        return self._open[seed]

    def _in_turn(self, number: int) -> Arm:
        """The workloads in turn, each with all strategies in turn."""
        return Arm(number % self.workloads, self.strategies[number // self.workloads % len(self.strategies)])

    def _drawn(self, hand: int, known: Sequence[Sequence[Share]]) -> Arm:
        if hand % IN_TURN == 0:
            return self._in_turn(hand // IN_TURN)
        key = hashlib.blake2b(b"budget %d" % hand, digest_size=8).digest()
        rng = Random(int.from_bytes(key, "little"))
        workload = _greatest(rng, [_sum(shares) for shares in known])
        return Arm(workload, self.strategies[_greatest(rng, known[workload])])

    def numbers(self, arms: Sequence[Arm]) -> list[int]:
        """The numbers of arms, as a store has them: all strategies of the first workload, then those of the next."""
        return [arm.workload * len(self.strategies) + self.strategies.index(arm.strategy) for arm in arms]

    # -- learning -----------------------------------------------------------------------------------------------------

    def learn(self, seeds: range, shapes: Sequence[bytes]) -> None:
        """Take in what the seeds have shown, the first so many of them; in the order of seeds."""
        for seed, shape in zip(seeds, shapes, strict=False):
            arm = self._open[seed]
            self._seen[arm.workload].note(self.strategies.index(arm.strategy), shape)
        for seed in seeds:
            self._open.pop(seed, None)
        number = self._round_of(seeds[0])
        if seeds.stop == self._ends[number] and len(shapes) == len(seeds):
            self._known = {at: known for at, known in self._known.items() if at > number}
            self._known[number + 2] = [list(seen.by_strategy) for seen in self._seen]

    def shares(self) -> Iterator[tuple[Arm, Share]]:
        """What each arm got so far, and how much of it no other schedule has shown."""
        for workload, seen in enumerate(self._seen):
            for strategy, share in zip(self.strategies, seen.by_strategy, strict=True):
                yield Arm(workload, strategy), share

    def distinct(self, workload: int) -> int:
        """The different interleavings that a workload has shown."""
        return len(self._seen[workload].shapes)

    def as_json(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """The shares for scripts; `names` are those of the workloads."""
        return [
            {"workload": names[arm.workload], "strategy": arm.strategy, **share._asdict()}
            for arm, share in self.shares()
        ]


def _sum(shares: Sequence[Share]) -> Share:
    return Share(sum(share.schedules for share in shares), sum(share.once for share in shares))


def _greatest(rng: Random, shares: Sequence[Share]) -> int:
    """Draw a probability for each share, and return the place of the greatest."""
    drawn = [_beta(rng, share) for share in shares]
    return drawn.index(max(drawn))


def _beta(rng: Random, share: Share) -> int:
    """Draw from Beta(once + 1, others + 1), in units of 2**-_WORD: an order statistic of uniform words. An arm that was
    not tried yet gets more than any other."""
    if not share.schedules:
        return (1 << _WORD) + rng.getrandbits(_WORD)
    count = min(share.schedules, CERTAINTY)
    once = share.once * count // share.schedules
    words = rng.getrandbits(_WORD * (count + 1)).to_bytes(4 * (count + 1), "little")
    return int(sorted(unpack(f"<{count + 1}I", words))[once])


def strategies_of(strategy: str) -> tuple[str, ...]:
    """Return the strategies among which an adaptive budget chooses: those of the portfolio, or the one that was named.

    Raises:
        UsageError: there is no such strategy, or it learns from other seeds.
    """
    need_strategy(strategy)
    deciding = parse(strategy)
    if type(deciding) is Portfolio:
        return tuple(cls.name for _, cls in SHARES)
    if any(deciding.warmup_seeds(seed) for seed in range(LESSONS_LOOKED_AT)):
        raise UsageError(
            f"--budget {ADAPTIVE}: the strategy {strategy} learns from smaller seeds of the same workload, "
            "which this budget does not deal evenly; leave one of the two out"
        )
    return (strategy,)


def deal_of(budget: str, workloads: int, strategy: str, seeds: range) -> AdaptiveDeal | None:
    """Return what deals the seeds of a campaign with a budget; None: they are dealt in turn.

    Raises:
        UsageError: there is no such budget, or it does not go with the strategy.
    """
    if budget not in BUDGETS:
        raise UsageError(f"no budget {quoted(budget)}; there are: {', '.join(BUDGETS)}")
    return AdaptiveDeal(workloads, strategies_of(strategy), seeds.start) if budget == ADAPTIVE else None


class StoredDeal(NamedTuple):
    """What the schedules of a store were run with, from its identity and its blocks: names and texts, nothing loaded.

    Attributes:
        names: the workloads.
        strategies: the strategies of an adaptive budget; else the one that was named.
        adaptive: whether blocks have the arms.
    """

    names: Sequence[str]
    strategies: Sequence[str]
    adaptive: bool

    @classmethod
    def of(cls, identity: Mapping[str, Any]) -> StoredDeal:
        """Return that of a store.

        Raises:
            LookupError, TypeError, ValueError: its identity is none.
        """
        names = [str(subject["workload"]) for subject in identity["subjects"]]
        adaptive = identity.get("budget", EQUAL) == ADAPTIVE
        strategies = [str(one) for one in identity["strategies"]] if adaptive else [str(identity["strategy"])]
        if not names or not strategies:
            raise ValueError("it has no workload, or no strategy")
        return cls(names, strategies, adaptive)

    def arms(self, block: Block) -> list[tuple[str, str]]:
        """Return the workload and the strategy of each schedule of a block.

        Raises:
            ValueError: the block does not say it.
        """
        if not self.adaptive:
            return [(self.names[seed % len(self.names)], self.strategies[0]) for seed in block.seeds]
        if len(block.arms) != len(block.seeds) or max(block.arms) >= len(self.names) * len(self.strategies):
            raise ValueError(f"the block of seed {block.seeds.start} does not say what was run")
        count = len(self.strategies)
        return [(self.names[number // count], self.strategies[number % count]) for number in block.arms]
