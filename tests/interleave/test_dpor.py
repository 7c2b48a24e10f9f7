"""Source-DPOR: it reaches all that brute force reaches, in one schedule for each trace."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest

from ksmactors.errors import Finding, NotDeterministic
from ksmactors.interleave.actor import READ, WRITE
from ksmactors.interleave.concurrent import run_concurrently
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import Mutex
from ksmactors.interleave.search.bounded import UNBOUNDED, BoundedSearch
from ksmactors.interleave.search.dpor import TIMED, Dpor
from tests.helpers.searching import Searched, Traces, played, random_program, searched

KINDS = ("v", "vc", "vl", "vcl", "l", "vs", "r", "vr", "m", "vm", "w", "vw", "vd", "vclsrmw", "t", "vt")
"""What random programs are made of, see `random_program`."""


def everything(play: object, **options: object) -> Searched:
    """All interleavings, one by one."""
    return searched(play, BoundedSearch(first=UNBOUNDED, patient=False), **options)  # type: ignore[arg-type]


def agrees(seed: int, actors: int, length: int) -> None:
    """DPOR, with and without patience, ends in all the ways in which brute force does, and in no other."""
    program = played(random_program(Random(seed), actors, length, KINDS[seed % len(KINDS)]))
    ends = everything(program).ends.keys()
    assert searched(program, Dpor()).ends.keys() == ends
    assert searched(program, Dpor(patient=False)).ends.keys() == ends
    assert searched(program, Dpor(round=0)).ends.keys() == ends


@pytest.mark.parametrize("seed", range(28))
def test_it_reaches_what_brute_force_reaches(seed: int) -> None:
    """On small random programs DPOR finds every final state and every finding that exists, and invents none."""
    agrees(seed, 2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 54])
def test_what_is_touched_in_passing_is_known_when_the_races_are_turned_round(seed: int) -> None:
    """The same for three actors whose operations touch more or less by what was done before."""
    program = played(random_program(Random(seed), 3, 3, "vt"))
    ends = everything(program).ends.keys()
    assert searched(program, Dpor()).ends.keys() == ends
    assert searched(program, Dpor(round=0)).ends.keys() == ends


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 8, 10, 11, 12, 14, 15])
def test_it_reaches_what_brute_force_reaches_among_three(seed: int) -> None:
    """The same with three actors."""
    agrees(seed, 3, 2)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5, 7, 9, 11, 13, 15])
def test_one_schedule_for_each_trace(seed: int) -> None:
    """DPOR runs each Mazurkiewicz trace once to its end, and cuts few schedules short."""
    program = played(random_program(Random(seed), 2, 3, "v" if seed % 2 else "vl"))
    brute, reduced = Traces(), Traces()
    everything(program, traces=brute)
    came = searched(program, Dpor(patient=False), traces=reduced)
    assert reduced.seen.keys() == brute.seen.keys()
    assert came.schedules == len(brute.seen)
    assert came.cut <= came.schedules


def test_independent_operations_need_one_schedule() -> None:
    """Actors that touch nothing in common are run once, however many interleavings they have."""

    async def play(conductor: Conductor) -> object:
        async def work(name: str) -> None:
            for _ in range(5):
                await conductor.point(WRITE, name)

        await run_concurrently(conductor, {name: work(name) for name in "abc"})
        return None

    assert searched(play, Dpor()).schedules == 1


def test_looks_do_not_race() -> None:
    """Two reads of one variable are in no order, a read and a write are in two."""

    async def play(conductor: Conductor, kinds: tuple[int, ...]) -> object:
        async def work(kind: int) -> None:
            await conductor.point(kind, "x")

        await run_concurrently(conductor, {str(n): work(kind) for n, kind in enumerate(kinds)})
        return None

    assert searched(lambda c: play(c, (READ, READ, READ)), Dpor()).schedules == 1
    assert searched(lambda c: play(c, (READ, READ, WRITE)), Dpor()).schedules == 4


async def _sections(conductor: Conductor) -> object:
    mutex = Mutex(conductor, "m")

    async def work() -> None:
        for _ in range(2):
            await mutex.lock()
            await mutex.unlock()

    await run_concurrently(conductor, {"a": work(), "b": work()})
    return None


def test_patience_is_one_schedule_for_each_order_of_the_critical_sections() -> None:
    """With patience a lock's sections are ordered once each (4 over 2), without it also by who had to wait."""
    assert searched(_sections, Dpor()).schedules == 6
    assert searched(_sections, Dpor(patient=False)).schedules > 6


def test_a_deadlock_is_found_though_nobody_queues() -> None:
    """Patience does not hide a deadlock, nor who locks twice."""

    async def play(conductor: Conductor) -> object:
        locks = Mutex(conductor, "A"), Mutex(conductor, "B")

        async def take(first: int) -> None:
            await locks[first].lock()
            await locks[1 - first].lock()
            await locks[1 - first].unlock()
            await locks[first].unlock()

        await run_concurrently(conductor, {"ab": take(0), "ba": take(1)})
        return None

    assert set(searched(play, Dpor()).ends) == {None, "deadlock/deadlock@take"}


def test_a_finding_hides_no_other() -> None:
    """A schedule that ends in a finding is also gone on with by the others, as far as they get before it."""

    async def play(conductor: Conductor) -> object:
        async def wrong(name: str) -> None:
            await conductor.point(WRITE, name)
            raise Finding("test", name, "wrong", "")

        async def slow() -> None:
            for _ in range(3):
                await conductor.point(WRITE, "z")
            await wrong("third")

        await run_concurrently(conductor, {"one": wrong("first"), "two": wrong("second"), "three": slow()})
        return None

    assert set(searched(play, Dpor()).ends) == {f"test/{name}@wrong" for name in ("first", "second", "third")}


def test_what_a_daemon_might_still_do_is_seen() -> None:
    """A schedule that ends while a daemon could go on is also run with the daemon before its end."""

    async def play(conductor: Conductor) -> object:
        seen: list[str] = []

        async def daemon() -> None:
            await conductor.point(WRITE, "x")
            seen.append("daemon")

        conductor.spawn("daemon", daemon(), daemon=True)
        await conductor.point(WRITE, "x")
        seen.append("main")
        return tuple(seen)

    assert set(searched(play, Dpor()).ends) == {("main",), ("daemon", "main")}


def test_draws_are_enumerated() -> None:
    """Every value of a small draw is a branch; a large one is drawn, and said not to be enumerated."""

    async def play(conductor: Conductor) -> object:
        return conductor.draw("small", 3), conductor.draw("large", 1000)

    search = Dpor()
    assert len(searched(play, search).ends) == 3
    assert list(search.limits) == ["draws of 'large' among 1000 values are not enumerated"]
    assert len(searched(play, Dpor(draws=2)).ends) == 1


def test_sleeping_among_others_is_no_proof() -> None:
    """When a sleeper wakes depends on steps that the search takes for independent, and the search says so."""

    async def play(conductor: Conductor) -> object:
        async def timer() -> None:
            await conductor.sleep(5_000)

        async def work() -> None:
            await conductor.point(WRITE, "x")

        await run_concurrently(conductor, {"nap": timer(), "work": work()})
        return None

    search = Dpor()
    searched(play, search)
    assert list(search.limits) == [TIMED]


def test_spinning_ends() -> None:
    """Who spins until another one has written is not run round and round: there is an end, and both orders are seen."""

    async def play(conductor: Conductor) -> object:
        done: list[int] = []
        tries: list[int] = []

        async def spin() -> None:
            for number in count():
                await conductor.point(READ, "flag")
                if done:
                    tries.append(number)
                    return
                await conductor.relax("flag")

        async def work() -> None:
            await conductor.point(WRITE, "other")
            await conductor.point(WRITE, "flag")
            done.append(1)

        await run_concurrently(conductor, {"spin": spin(), "work": work()})
        return bool(tries[0])

    came = searched(play, Dpor())
    assert set(came.ends) == {True, False}
    assert came.schedules <= 4


def test_a_program_that_remembers_is_told() -> None:
    """A program that does something else in a later schedule is named with the first choice that differs."""
    schedules = count()

    async def play(conductor: Conductor) -> object:
        name = "y" if next(schedules) else "x"

        async def work() -> None:
            await conductor.point(WRITE, Mutex(conductor, "x"))
            await conductor.point(WRITE, Mutex(conductor, name))

        await run_concurrently(conductor, {"a": work(), "b": work()})
        return conductor.draw("again", 2)

    with pytest.raises(NotDeterministic, match=r"not deterministic: after the same 1 choice .*write x.*write y"):
        searched(play, Dpor())


def test_a_state_that_was_kept_goes_on() -> None:
    """A search restored from its state after each schedule sees what one that was never interrupted sees."""
    program = played(random_program(Random(5), 2, 3, "v"))
    whole = searched(program, Dpor())

    class Forgetful(Dpor):
        def advance(self) -> bool:
            more = super().advance()
            state = self.state()
            self.path = []
            self.restore(state)
            return more

    assert searched(program, Forgetful()).ends == whole.ends


def test_branches_left_are_run() -> None:
    """At any time at least as many schedules follow as branches are known to be left."""
    left: list[int] = []

    class Told(Dpor):
        def advance(self) -> bool:
            more = super().advance()
            left.append(self.branches_left if more else 0)
            return more

    searched(played(random_program(Random(5), 2, 3, "v")), Told())
    assert max(left) > 1
    assert all(known <= len(left) - ran for ran, known in enumerate(left, 1))
