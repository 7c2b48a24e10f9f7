"""All strategies: what a seed means, what every one of them owes, and how they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from ksmactors.errors import UsageError
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.base import Strategy, below, distinct, octaves
from ksmactors.interleave.strategies.pct import Pct
from ksmactors.interleave.strategies.random_walk import RandomWalk
from ksmactors.interleave.strategies.registry import STRATEGIES, dealt, nested, parse, register, renamed, split
from ksmactors.parameters import parameters_of
from tests.helpers.strategies import turns, turns_without_yields

Perform = Callable[..., Conductor]

FORGETFUL = [name for name in STRATEGIES if not parse(name).warmup_seeds(1)]
"""Those that learn nothing from one schedule to the next, and compare none with another."""

DRAWING = [name for name in STRATEGIES if name not in ("round_robin", "default", "delay")]
"""Those that draw enough, without a profile, to make every schedule another one."""


class TestSeeds:
    @pytest.mark.parametrize("strategy", FORGETFUL)
    def test_a_seed_stands_for_a_schedule(self, perform: Perform, strategy: str) -> None:
        """The same seed gives the same turns, also from an object that has served other schedules before."""
        used = parse(strategy)
        for seed in (5, 6, 7):
            turns(perform, used, seed)

        assert turns(perform, used, 3) == turns(perform, strategy, 3)
        assert len(turns(perform, strategy, 3)) > 20

    @pytest.mark.parametrize("strategy", ["delay:steps=40", *DRAWING])
    def test_seeds_differ(self, perform: Perform, strategy: str) -> None:
        """Different seeds give different turns, nearly always."""
        seen = {tuple(turns(perform, strategy, seed)) for seed in range(30)}

        assert len(seen) > 20

    def test_schedules_do_not_depend_on_the_python_version(self, perform: Perform) -> None:
        """What each strategy chooses for one seed is pinned: it is the same on any machine."""
        chosen = {name: "".join(str(number) for _, number in turns(perform, name, 1)[:24]) for name in STRATEGIES}

        assert chosen == PINNED

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_nobody_starves_for_ever(self, perform: Perform, strategy: str) -> None:
        """Two actors that wait in a loop for what a third one does come to an end, under every strategy."""

        async def play(conductor: Conductor) -> None:
            done = False

            async def wait() -> None:
                while not done:
                    await conductor.relax()

            async def work() -> None:
                nonlocal done
                for _ in range(5):
                    await conductor.relax()
                done = True

            for name in "ab":
                conductor.spawn(name, wait())
            conductor.spawn("c", work())

        for seed in range(5):
            assert perform(play, seed=seed, strategy=strategy, max_steps=200_000).failure is None


class TestNumbers:
    def test_below_is_even(self) -> None:
        """Numbers drawn below n are each equally likely and never n."""
        rng = Random(1)
        counts = [0] * 6
        for _ in range(6_000):
            counts[below(rng, 6)] += 1

        assert min(counts) > 900
        assert max(counts) < 1_100
        assert below(rng, 1) == 0

    def test_octaves_are_even(self) -> None:
        """Of lengths up to 15, each of the four octaves is drawn about as often, and no length is out of range."""
        rng = Random(1)
        drawn = [octaves(rng, 3) for _ in range(4_000)]
        by_octave = [sum(number.bit_length() == bits for number in drawn) for bits in range(1, 5)]

        assert (min(drawn), max(drawn)) == (1, 15)
        assert min(by_octave) > 900

    def test_distinct_steps(self) -> None:
        """Steps are drawn without repeating one, last first, and never more than there are."""
        assert distinct(Random(1), 9, 3) == [3, 2, 1]
        assert len(set(distinct(Random(1), 5, 1_000))) == 5


class TestRegistry:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "poss",
                r"no strategy 'poss' \(did you mean pos\?\); there are: portfolio, pos, surw, urw, pct, delay, random",
            ),
            ("", "no strategy ''; there are: portfolio"),
            ("replay", "replay follows a recorded schedule: use `ksmactors replay FILE`"),
            ("pct:deep=3", r"strategy pct has no parameter 'deep' \(did you mean depth\?\); its parameters are: depth"),
            ("pct:depth", "'depth' is not KEY=VALUE"),
            ("pct:depth=x", "strategy pct: depth must be a whole number from 0"),
            ("pct:depth=-1", "strategy pct: depth must be a whole number from 0"),
            ("pct:depth=1,depth=2", "depth is given twice"),
            ("round_robin:quantum=0", "strategy round_robin: quantum must be a whole number from 1"),
            ("random:seed=1", "strategy random has no parameter 'seed'; its parameters are: none"),
            ("surw:across=rooms", "strategy surw: across must be one of actors, cpus, nodes, not 'rooms'"),
            ("burst:octaves=31", "strategy burst: octaves must be a whole number from 0 to 30"),
            ("starvation:octaves=99", "strategy starvation: octaves must be a whole number from 1 to 30"),
            ("delay:delays=many", "strategy delay: delays must be a whole number from 0"),
            ("guided:family=0", "strategy guided: family must be a whole number from 1"),
            ("metrics:of=poss", r"no strategy 'poss' \(did you mean pos\?\)"),
            ("metrics:of=pct:depth=2,steps=x", "strategy pct: steps must be a whole number from 0"),
            ("pos:of=random", "strategy pos has no parameter 'of'; its parameters are: none"),
        ],
    )
    def test_bad_text(self, text: str, message: str) -> None:
        """A name or parameter that does not exist, or a wrong value, is told with what there is."""
        with pytest.raises(UsageError, match=message):
            parse(text)

    def test_parameters(self) -> None:
        """Parameters are typed, arrive, and can be listed; every strategy says what it is."""
        strategy = parse("pct:depth=2,steps=100")

        assert isinstance(strategy, Pct)
        assert (strategy.depth, strategy.steps) == (2, 100)
        assert {name: list(parameters_of(cls)) for name, cls in STRATEGIES.items() if parameters_of(cls)} == {
            "surw": ["on", "across"],
            "pct": ["depth", "steps"],
            "delay": ["delays", "steps"],
            "burst": ["octaves"],
            "starvation": ["octaves"],
            "guided": ["family", "every", "draws"],
            "round_robin": ["quantum"],
            "metrics": ["of"],
            "recording": ["to", "of"],
            "determinism": ["of"],
        }
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
        with pytest.raises(UsageError, match="is not a subclass of"):
            register(int)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("pos", "pos"),
            ("guided", "guided:every=3"),
            ("guided:family=9", "guided:every=3,family=9"),
            ("guided:every=2", "guided:every=2"),
            ("metrics:of=guided", "metrics:of=guided:every=3"),
        ],
    )
    def test_dealt_to_several_workloads(self, text: str, told: str) -> None:
        """A strategy that learns is told how far the seeds of one workload are apart, if nobody has said so."""
        assert dealt(text, 3) == told
        assert dealt(text, 1) == text


class TestRoundRobin:
    def test_cannot_starve(self, perform: Perform) -> None:
        """Under round robin no ready actor waits longer than a round."""
        recorded = turns(perform, "round_robin:quantum=2", 0)
        waiting, longest = dict.fromkeys(range(5), 0), 0
        for mask, chosen in recorded:
            for number in waiting:
                waiting[number] = waiting[number] + 1 if mask >> number & 1 and number != chosen else 0
            longest = max(longest, *waiting.values())
        assert 2 < longest <= 2 * 4


class TestDefaultOrder:
    def test_interrupts_nobody(self, perform: Perform) -> None:
        """Each actor goes on to its end, then the lowest-numbered one has the turn."""
        order = [chosen for _, chosen in turns_without_yields(perform, "default", 0)]

        assert order == sorted(order)


PINNED = {
    "portfolio": "101111221222222011044244",
    "pos": "222333323022220203332111",
    "surw": "222333220101011111114414",
    "urw": "244124340132411344331114",
    "pct": "111111111441444444422422",
    "delay": "111111111022222222210333",
    "random": "244124340132411344331114",
    "burst": "222222243333311111111144",
    "starvation": "343401324113443311143011",
    "guided": "333101031440411111143144",
    "round_robin": "123401234012340123412341",
    "default": "111111111022222222201033",
    "metrics": "101111221222222011044244",
    "recording": "101111221222222011044244",
    "determinism": "101111221222222011044244",
}
"""Who moves in the first 24 choices of `turns` with seed 1. A change here makes recorded seeds mean something else."""


@pytest.mark.parametrize(
    ("text", "name", "rest"),
    [
        ("pos", "pos", ""),
        ("pct:depth=3", "pct", "depth=3"),
        ("pct:depth", "pct", "depth"),
        ("nosuch:depth=3", "nosuch", "depth=3"),
        ("nosuch:of=a.py:B", "nosuch", "of=a.py:B"),
        ("a.py:B", "a.py:B", ""),
        ("a/b.py:B:x=1,of=c:D:y=2", "a/b.py:B", "x=1,of=c:D:y=2"),
        ("package.module:Class:x=a:b", "package.module:Class", "x=a:b"),
    ],
)
def test_the_name_in_a_text(text: str, name: str, rest: str) -> None:
    """A registered name ends at the first colon; a name that says where the class is has one of its own."""
    assert split(text) == (name, rest)
    assert next(nested(text)) == (name, rest)
    assert renamed(text, lambda same: same) == text


def test_names_are_replaced_wherever_they_are() -> None:
    """In the strategy and in what it wraps; parameters stay, whatever they look like."""
    text = "metrics:of=a.py:B:x=a.py:B,of=pos"
    assert renamed(text, {"metrics": "m", "a.py:B": "/x/a.py:B", "pos": "p"}.__getitem__) == (
        "m:of=/x/a.py:B:x=a.py:B,of=p"
    )
    assert renamed("pos:", str.upper) == "POS:"
