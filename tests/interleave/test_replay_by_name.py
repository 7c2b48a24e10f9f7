"""Following departures by name: exact places, places nearby, departures that never come, and where it must be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ksmactors.interleave.actor import WRITE, Actor
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import Mutex
from ksmactors.interleave.schedule_string import Departure, departures
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.interleave.tape import Tape

Perform = Callable[..., Conductor]


class Thing:
    """Something shared."""

    def __init__(self, name: str) -> None:
        self.name = name


def steps(order: list[str], *, before: Sequence[str] = (), count: int = 4) -> Callable[[Conductor], object]:
    """A play: actors a, b and c each write x1, x2, ... and say so; `a` writes something else `before`."""

    async def play(conductor: Conductor) -> None:
        things = {name: Thing(name) for name in (*before, *(f"x{k}" for k in range(count)))}

        async def write(actor: str) -> None:
            for name in (*(before if actor == "a" else ()), *(f"x{k}" for k in range(count))):
                await conductor.point(WRITE, things[name])
                order.append(actor + name)

        for actor in "abc":
            conductor.spawn(actor, write(actor))

    return play


def followed(perform: Perform, given: Sequence[Departure], slack: int = 0, before: Sequence[str] = ()) -> str:
    """Who moved, in order."""
    order: list[str] = []
    perform(steps(order, before=before), strategy=ReplayByName(given, slack=slack), tape=Tape(0))
    return "".join(one[0] for one in order)


AT_X2 = Departure("a", "writes x2", "c", 3, stuck=0)
"""`a` has started and written x0 and x1."""


def test_the_default_order(perform: Perform) -> None:
    """Without departures each goes on as long as it can, and then the lowest-numbered."""
    assert followed(perform, []) == "aaaabbbbcccc"


def test_an_exact_place(perform: Perform) -> None:
    """A departure happens after exactly so many points of its actor, if it is at the same kind of thing there."""
    place = next(at for at in range(6) if followed(perform, [AT_X2._replace(at=at)]) == "aaccccaabbbb")
    assert followed(perform, [AT_X2._replace(at=place + 1, doing="writes x3")]) == "aaaccccabbbb"
    assert followed(perform, [AT_X2._replace(at=place, doing="writes x2/7")]) == "aaccccaabbbb"
    assert followed(perform, [AT_X2._replace(at=place, doing="whatever")]) == "aaaabbbbcccc"
    assert followed(perform, [AT_X2._replace(at=50)]) == "aaaabbbbcccc"


def test_who_is_stuck(perform: Perform) -> None:
    """A departure of an actor that could not go on happens where it is stuck, and only there."""
    stuck = [
        one
        for one in range(8)
        if followed(perform, [Departure("a", "waits at nothing shared", "c", one, stuck=1)])[4] == "c"
    ]
    assert len(stuck) == 1
    assert followed(perform, [Departure("a", "waits at nothing shared", "c", stuck[0], stuck=0)]) == "aaaabbbbcccc"


def test_a_place_nearby(perform: Perform) -> None:
    """With slack a place is where the same is about to be done, although something came before it."""
    place = next(at for at in range(6) if followed(perform, [AT_X2._replace(at=at)]) == "aaccccaabbbb")
    departure = AT_X2._replace(at=place)

    assert followed(perform, [departure], 0, ["new", "newer"]) == "aaaaaabbbbcccc"
    assert followed(perform, [departure], 1, ["new", "newer"]) == "aaaaaabbbbcccc"
    assert followed(perform, [departure], 2, ["new", "newer"]) == "aaaaccccaabbbb"


def test_who_was_late_once_is_late_again(perform: Perform) -> None:
    """An actor that came late to a place is expected to be as late at the next: slack does not add up."""
    place = next(at for at in range(6) if followed(perform, [AT_X2._replace(at=at)]) == "aaccccaabbbb")
    first, second = AT_X2._replace(at=place, to="b"), Departure("a", "writes x3", "c", place + 1, stuck=0)
    late = [ReplayByName([first, second], slack=2)]
    order: list[str] = []

    async def play(conductor: Conductor) -> None:
        things = {name: Thing(name) for name in ("n1", "n2", "n3", "x0", "x1", "x2", "x3")}

        async def a() -> None:
            for name in ("n1", "x0", "n2", "x1", "x2", "n3", "x3"):
                await conductor.point(WRITE, things[name])
                order.append(f"a{name}")

        async def one(name: str) -> None:
            await conductor.point(WRITE, things["x0"])
            order.append(name)

        conductor.spawn("a", a())
        conductor.spawn("b", one("b"))
        conductor.spawn("c", one("c"))

    perform(play, strategy=late[0], tape=Tape(0))
    assert order == ["an1", "ax0", "an2", "ax1", "b", "ax2", "an3", "c", "ax3"]


def test_departures_that_never_come_are_passed_over(perform: Perform) -> None:
    """Those whose place never comes, or whose other actor does not exist, do not hold up those behind them."""
    place = next(at for at in range(6) if followed(perform, [AT_X2._replace(at=at)]) == "aaccccaabbbb")
    departure = AT_X2._replace(at=place)
    never = Departure("nobody", "writes x0", "a", 1, stuck=0)
    missing = departure._replace(to="nobody")
    assert followed(perform, [never, missing, never, departure]) == "aaccccaabbbb"
    assert followed(perform, [never] * 20 + [departure]) == "aaccccaabbbb"  # what others do not come to is theirs


class AskedAlways(ReplayByName):
    """Is asked at each point."""

    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        return 1


async def contended(conductor: Conductor) -> None:
    """Actors that are woken for nothing: stuck several times in a row at one and the same point."""
    gate = [False]
    waiting: list[Actor] = []

    async def waits() -> None:
        while not gate[0]:
            waiting.append(conductor.turn)
            await conductor.park(gate)

    async def knocks() -> None:
        for _ in range(6):
            while waiting:
                conductor.wake(waiting.pop())
            await conductor.point(WRITE, Thing("gate"))
        gate[0] = True
        while waiting:
            conductor.wake(waiting.pop())

    for name in ("a", "b", "c"):
        conductor.spawn(name, waits())
    conductor.spawn("knocks", knocks())


def test_who_is_stuck_at_one_point_again_and_again(perform: Perform) -> None:
    """A departure of an actor that is stuck happens at the time it did, not at the first one at that point."""
    several = 0
    for seed in range(20):
        tape, again = Tape(seed), Tape(seed)
        perform(contended, seed=seed, strategy="random", tape=tape)
        several += sum(one.stuck > 1 for one in tape.departures)
        perform(contended, strategy=ReplayByName(departures(tape), slack=0), tape=again)
        assert again.turns == tape.turns
    assert several > 20


async def busy(conductor: Conductor) -> None:
    """A mutex, sleep, draws and spinning."""
    mutex, thing = Mutex(conductor, "mutex"), Thing("x")

    async def work() -> None:
        for _ in range(3):
            await mutex.lock()
            for _ in range(conductor.draw("n", 5)):
                await conductor.point(WRITE, thing)
            await mutex.unlock()
            await conductor.relax(thing)
            await conductor.sleep(conductor.draw("sleep", 5_000))

    for name in "abcd":
        conductor.spawn(name, work())


@pytest.mark.parametrize("slack", [0, 3, 8])
def test_unasked_it_goes_the_same_way(perform: Perform, slack: int) -> None:
    """The horizon only spares questions: asked at each point it makes the same schedule."""
    taken = 0
    for seed in range(10):
        tape = Tape(seed)
        perform(busy, seed=seed, strategy="random", tape=tape)
        given = departures(tape)[::3]
        tapes = [Tape(seed), Tape(seed)]
        perform(busy, strategy=ReplayByName(given, slack=slack), tape=tapes[0])
        perform(busy, strategy=AskedAlways(given, slack=slack), tape=tapes[1])
        assert tapes[0].turns == tapes[1].turns
        taken += len(tapes[0].departures)
    assert taken > 20


def test_all_departures_are_the_schedule(perform: Perform) -> None:
    """Whatever decided, its departures from the default order lead to its turns again."""
    for seed in range(10):
        tape, again = Tape(seed), Tape(seed)
        perform(busy, seed=seed, strategy="random", tape=tape)
        perform(busy, strategy=ReplayByName(departures(tape), slack=0), tape=again)
        assert again.turns == tape.turns
