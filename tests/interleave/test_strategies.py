"""The strategies: what a seed means, what each of them can find, and how they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import trio

from ksmactors.errors import Finding, UsageError
from ksmactors.interleave.actor import READ, WRITE
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import Mutex
from ksmactors.interleave.strategies.base import Strategy, below
from ksmactors.interleave.strategies.pct import Pct
from ksmactors.interleave.strategies.portfolio import Portfolio
from ksmactors.interleave.strategies.random_walk import RandomWalk
from ksmactors.interleave.strategies.registry import STRATEGIES, parse, register
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.parameters import parameters_of

Perform = Callable[..., Conductor]
Model = Callable[[Conductor], "tuple[list[Coroutine[Any, Any, None]], Callable[[], bool]]"]


class Var:
    """A shared variable: each access is one operation."""

    def __init__(self, conductor: Conductor) -> None:
        self.conductor, self.value = conductor, 0

    async def read(self) -> int:
        await self.conductor.point(READ, self)
        return self.value

    async def write(self, value: int) -> None:
        await self.conductor.point(WRITE, self)
        self.value = value


def lost(conductor: Conductor) -> tuple[list[Coroutine[Any, Any, None]], Callable[[], bool]]:
    """Two workers add 1 to what they read; an update may be lost."""
    v = Var(conductor)

    async def worker() -> None:
        await v.write(await v.read() + 1)

    return [worker(), worker()], lambda: v.value == 1


def abba(conductor: Conductor) -> tuple[list[Coroutine[Any, Any, None]], Callable[[], bool]]:
    """Two locks taken in two orders; a deadlock is raised, not returned."""
    a, b = Mutex(conductor, "A"), Mutex(conductor, "B")

    async def both(first: Mutex, second: Mutex) -> None:
        await first.lock()
        await second.lock()
        await second.unlock()
        await first.unlock()

    return [both(a, b), both(b, a)], lambda: False


def reorder(setters: int) -> Model:
    """reorder_n: setters write a, then b; the checker must see both or neither."""

    def model(conductor: Conductor) -> tuple[list[Coroutine[Any, Any, None]], Callable[[], bool]]:
        a, b = Var(conductor), Var(conductor)
        failed = False

        async def setter() -> None:
            await a.write(1)
            await b.write(-1)

        async def checker() -> None:
            nonlocal failed
            if await a.read() == 0 and await b.read() == 0:
                return
            failed = not (await a.read() == 1 and await b.read() == -1)

        return [*(setter() for _ in range(setters)), checker()], lambda: failed

    return model


def starve(conductor: Conductor) -> tuple[list[Coroutine[Any, Any, None]], Callable[[], bool]]:
    """starve_20: one does 20 steps on nothing, then writes x; the other sees it only if it was starved till then."""
    x = Var(conductor)
    seen = 0

    async def slow() -> None:
        mine = Var(conductor)
        for _ in range(20):
            await mine.read()
        await x.write(1)

    async def reader() -> None:
        nonlocal seen
        seen = await x.read()

    return [slow(), reader()], lambda: seen == 1


MODELS: dict[str, Model] = {
    "lost": lost, "abba": abba, "reorder_3": reorder(2), "starve_20": starve,
}  # fmt: skip

SEEDS_EACH = 500
"""Schedules that a campaign has at most."""


async def fails(model: Model, strategy: Strategy, seed: int) -> bool:
    """Whether a model fails in one schedule."""
    strategy.begin(strategy_rng(seed))
    conductor = Conductor(strategy, Tape(seed))
    actors, failed = model(conductor)

    async def play() -> None:
        for number, actor in enumerate(actors):
            conductor.spawn(f"a{number}", actor)

    try:
        await conductor.run("main", play)
    except Finding as finding:
        return finding.kind == "deadlock"
    return failed()


def mean_until_found(strategy: str, model: str, trials: int) -> float:
    """Mean number of schedules until the failure shows, over so many campaigns with seeds of their own."""

    async def search() -> int:
        total = 0
        for first in range(0, trials * SEEDS_EACH, SEEDS_EACH):
            seed = first
            while not await fails(MODELS[model], chooser, seed):
                seed += 1
                assert seed < first + SEEDS_EACH, f"{strategy} does not find {model}"
            total += seed + 1 - first
        return total

    chooser = parse(strategy)
    return trio.run(search) / trials


def turns(perform: Perform, strategy: str | Strategy, seed: int) -> list[tuple[int, int]]:
    """The turns of a schedule of five actors on two variables, one of which also spins and sleeps."""

    async def play(conductor: Conductor) -> None:
        a, b = Var(conductor), Var(conductor)

        async def work(number: int) -> None:
            for turn in range(4):
                await (a if turn % 2 else b).write(number)
                await a.read()
            await conductor.sleep(2_000)

        for number in range(4):
            conductor.spawn(f"w{number}", work(number))
        for _ in range(3):
            await conductor.relax(a)

    return perform(play, seed=seed, strategy=strategy).tape.turns


class TestSeeds:
    @pytest.mark.parametrize("strategy", list(STRATEGIES))
    def test_a_seed_stands_for_a_schedule(self, perform: Perform, strategy: str) -> None:
        """The same seed gives the same turns, also from an object that has served other schedules before."""
        used = parse(strategy)
        for seed in (5, 6, 7):
            turns(perform, used, seed)

        assert turns(perform, used, 3) == turns(perform, strategy, 3)
        assert len(turns(perform, strategy, 3)) > 20

    @pytest.mark.parametrize("strategy", ["random", "pos", "pct", "portfolio"])
    def test_seeds_differ(self, perform: Perform, strategy: str) -> None:
        """Different seeds give different turns, nearly always."""
        seen = {tuple(turns(perform, strategy, seed)) for seed in range(30)}

        assert len(seen) > 20

    def test_schedules_do_not_depend_on_the_python_version(self, perform: Perform) -> None:
        """What each strategy chooses for one seed is pinned: it is the same on any machine."""
        chosen = {name: "".join(str(number) for _, number in turns(perform, name, 1)[:24]) for name in STRATEGIES}

        assert chosen == PINNED

    def test_below_is_even(self) -> None:
        """Numbers drawn below n are each equally likely and never n."""
        rng = Random(1)
        counts = [0] * 6
        for _ in range(6_000):
            counts[below(rng, 6)] += 1

        assert min(counts) > 900
        assert max(counts) < 1_100
        assert below(rng, 1) == 0


class TestPower:
    @pytest.mark.parametrize(
        ("strategy", "model", "budget"),
        [
            # about one and a half times the mean of very many campaigns
            ("random", "lost", 4), ("random", "abba", 4), ("random", "reorder_3", 28),
            ("pos", "lost", 6), ("pos", "abba", 6), ("pos", "reorder_3", 16),
            ("pct:depth=2,steps=3", "lost", 5), ("pct:depth=2,steps=5", "abba", 8), ("pct:steps=7", "reorder_3", 40),
            ("pct", "lost", 100), ("pct", "abba", 100),
            ("portfolio", "lost", 8), ("portfolio", "abba", 8), ("portfolio", "reorder_3", 28),
        ],
    )  # fmt: skip
    def test_finds(self, strategy: str, model: str, budget: int) -> None:
        """A strategy shows a model's failure within a stated number of schedules, on average over 20 campaigns."""
        assert mean_until_found(strategy, model, 20) <= budget

    def test_pos_reorders_better_than_the_random_walk(self) -> None:
        """POS needs fewer schedules than the random walk for reorder_3."""
        assert mean_until_found("pos", "reorder_3", 20) < mean_until_found("random", "reorder_3", 20)

    def test_only_lasting_priorities_starve(self) -> None:
        """PCT of depth 1 starves an actor for 20 steps in every other schedule; the random walk never does."""
        assert mean_until_found("pct:depth=1", "starve_20", 20) <= 4
        with pytest.raises(AssertionError, match="random does not find starve_20"):
            mean_until_found("random", "starve_20", 1)

    def test_round_robin_cannot_starve(self, perform: Perform) -> None:
        """Under round robin no ready actor waits longer than a round."""
        recorded = turns(perform, "round_robin:quantum=2", 0)
        waiting = dict.fromkeys(range(5), 0)
        for mask, chosen in recorded:
            for number in waiting:
                waiting[number] = waiting[number] + 1 if mask >> number & 1 and number != chosen else 0
            assert max(waiting.values()) <= 2 * 4


class TestPct:
    def test_depth_one_never_preempts(self, perform: Perform) -> None:
        """With depth 1 and nobody who yields or wakes, the turn is passed only when its holder cannot go on."""

        async def play(conductor: Conductor) -> None:
            for name in "abc":
                conductor.spawn(name, one(Var(conductor)))

        async def one(var: Var) -> None:
            for _ in range(5):
                await var.read()

        recorded = perform(play, seed=4, strategy="pct:depth=1").tape.turns
        order = [chosen for _, chosen in recorded]

        assert sum(a != b for a, b in pairwise(order)) == 1

    def test_change_points(self, perform: Perform) -> None:
        """With depth d the turn is taken from its holder at most d-1 times, at steps up to `steps`."""
        for seed in range(30):
            preempted = preemptions(turns_without_yields(perform, "pct:depth=3,steps=15", seed))
            assert len(preempted) <= 2
            assert all(place < 15 for place in preempted)

    def test_drawn_parameters(self) -> None:
        """Depth and length are drawn for each schedule, depths of 1 to 3 about equally often, lengths of all sizes."""
        depths, lengths = [0] * 3, set()
        for seed in range(300):
            strategy = Pct()
            strategy.begin(strategy_rng(seed))
            depths[len(strategy._changes)] += 1
            lengths |= {change.bit_length() for change in strategy._changes}

        assert min(depths) > 70
        assert len(lengths) > 12


def turns_without_yields(perform: Perform, strategy: str | Strategy, seed: int) -> list[tuple[int, int]]:
    async def play(conductor: Conductor) -> None:
        for name in "abc":
            conductor.spawn(name, reads(Var(conductor)))

    async def reads(var: Var) -> None:
        for _ in range(8):
            await var.read()

    return perform(play, seed=seed, strategy=strategy).tape.turns


def preemptions(recorded: list[tuple[int, int]]) -> list[int]:
    """Where the turn was taken from somebody who could have gone on."""

    def found() -> Iterator[int]:
        for place, ((_, before), (mask, chosen)) in enumerate(pairwise(recorded), 1):
            if chosen != before and mask >> before & 1:
                yield place

    return list(found())


class TestPortfolio:
    def test_all_get_their_share(self) -> None:
        """Each strategy of the portfolio gets about its share of the schedules, and quanta vary."""
        counts: dict[str, int] = {}
        quanta = set()
        portfolio = Portfolio()
        for seed in range(1_000):
            portfolio.begin(strategy_rng(seed))
            counts[portfolio.chosen.name] = counts.get(portfolio.chosen.name, 0) + 1
            quanta.add(getattr(portfolio.chosen, "quantum", 0))

        assert {name: round(count / 50) for name, count in counts.items()} == {
            "pos": 10, "pct": 5, "random": 3, "round_robin": 2,
        }  # fmt: skip
        assert len(quanta) > 50

    def test_a_long_schedule_becomes_a_random_walk(self, perform: Perform, monkeypatch: pytest.MonkeyPatch) -> None:
        """After so many steps the portfolio walks at random, whatever it has drawn, so that nobody starves for ever."""
        monkeypatch.setattr("ksmactors.interleave.strategies.portfolio.FAIR_AFTER", 10)
        drawn, ended = set(), set()
        for seed in range(30):
            strategy = Portfolio()
            strategy.begin(strategy_rng(seed))
            drawn.add(strategy.chosen.name)
            turns_without_yields(perform, strategy, seed)
            ended.add(strategy.chosen.name)

        assert drawn == {"pos", "pct", "random", "round_robin"}
        assert ended == {"random"}


class TestRegistry:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("poss", r"no strategy 'poss' \(did you mean pos\?\); there are: portfolio, pos, pct, random, round_robin"),
            ("", "no strategy ''; there are: portfolio"),
            ("replay", "replay follows a recorded schedule: use `ksmactors replay FILE`"),
            ("pct:deep=3", r"strategy pct has no parameter 'deep' \(did you mean depth\?\); its parameters are: depth"),
            ("pct:depth", "'depth' is not KEY=VALUE"),
            ("pct:depth=x", "strategy pct: depth must be a whole number from 0"),
            ("pct:depth=-1", "strategy pct: depth must be a whole number from 0"),
            ("pct:depth=1,depth=2", "depth is given twice"),
            ("round_robin:quantum=0", "strategy round_robin: quantum must be a whole number from 1"),
            ("random:seed=1", "strategy random has no parameter 'seed'; its parameters are: none"),
        ],
    )
    def test_bad_text(self, text: str, message: str) -> None:
        """A name or parameter that does not exist, or a wrong value, is told with what there is."""
        with pytest.raises(UsageError, match=message):
            parse(text)

    def test_parameters(self) -> None:
        """Parameters are typed, arrive, and can be listed."""
        strategy = parse("pct:depth=2,steps=100")

        assert isinstance(strategy, Pct)
        assert (strategy.depth, strategy.steps) == (2, 100)
        assert [name for cls in STRATEGIES.values() for name in parameters_of(cls)] == ["depth", "steps", "quantum"]
        assert all(cls.summary for cls in STRATEGIES.values())

    def test_somebody_elses_strategy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A registered strategy can be asked for by name; a second one of that name, or no strategy, is refused."""
        monkeypatch.setattr("ksmactors.interleave.strategies.registry.STRATEGIES", dict(STRATEGIES))

        class Mine(RandomWalk):
            name = "mine"
            summary = "mine"

        class Thief(RandomWalk):
            name = "mine"

        class Lazy(Strategy):
            name = "lazy"

        register(Mine)
        register(Mine)

        assert isinstance(parse("mine"), Mine)
        with pytest.raises(UsageError, match="has the name of one of"):
            register(Thief)
        with pytest.raises(UsageError, match="has no summary and no choose"):
            register(Lazy)  # type: ignore[type-abstract]
        with pytest.raises(UsageError, match="is no subclass of"):
            register(int)  # type: ignore[arg-type]


PINNED = {
    "portfolio": "101111221222222011044244",
    "pos": "222333323022220203332111",
    "pct": "222222222332333333344344",
    "random": "244124340132411344331114",
    "round_robin": "123401234012340123412341",
}
"""Who moves in the first 24 choices of `turns` with seed 1. A change here makes recorded seeds mean something else."""
