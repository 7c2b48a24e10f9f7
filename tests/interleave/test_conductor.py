"""The conductor: whose turn it is, virtual time, deadlocks, and which operations race."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest
import trio

from ksmactors.errors import Finding, StrategyFailed
from ksmactors.interleave.actor import ACQUIRE, NOTHING, READ, WRITE, YIELD, Actor, races
from ksmactors.interleave.conductor import STEP_NS, Conductor
from ksmactors.interleave.locks import Mutex, WaitQueue
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.tape import Tape, strategy_rng

Perform = Callable[..., Conductor]


async def steps(conductor: Conductor, seen: list[str], name: str, count: int) -> None:
    for _ in range(count):
        await conductor.point(WRITE, seen)
        seen.append(name)


class Asked(Strategy):
    """Does what another strategy says, but never looks ahead: is asked at every point."""

    name: ClassVar[str] = "asked"
    summary: ClassVar[str] = "another one, point by point"

    def __init__(self, other: Strategy) -> None:
        super().__init__()
        self.other = other

    def begin(self, rng: object) -> None:
        self.other.begin(rng)  # type: ignore[arg-type]

    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        self.other.stage = self.stage
        return self.other.choose(ready, current)

    def yielded(self, actor: Actor) -> None:
        self.other.yielded(actor)


class TestTurns:
    def test_one_point_each_in_turn(self, perform: Perform) -> None:
        """Round robin with quantum 1 interleaves the operations of two actors one by one."""
        seen: list[str] = []

        async def play(conductor: Conductor) -> None:
            conductor.spawn("a", steps(conductor, seen, "a", 3))
            conductor.spawn("b", steps(conductor, seen, "b", 3))

        perform(play)

        assert "".join(seen) == "ababab"

    def test_quantum(self, perform: Perform) -> None:
        """Round robin with quantum 2 gives each actor two operations a turn; its start is the first of them."""
        seen: list[str] = []

        async def play(conductor: Conductor) -> None:
            conductor.spawn("a", steps(conductor, seen, "a", 4))
            conductor.spawn("b", steps(conductor, seen, "b", 4))

        perform(play, strategy="round_robin:quantum=2")

        assert "".join(seen) == "abaabbab"

    def test_only_choices_among_two_are_recorded(self, perform: Perform) -> None:
        """An actor that is alone passes points without a choice, and the tape stays empty."""
        seen: list[str] = []

        async def play(conductor: Conductor) -> None:
            await steps(conductor, seen, "a", 10)

        conductor = perform(play)

        assert conductor.tape.turns == []
        assert conductor.step == 10

    @pytest.mark.parametrize("strategy", ["round_robin:quantum=7", "pct", "pct:depth=3,steps=60", "portfolio"])
    def test_looking_ahead_changes_nothing(self, perform: Perform, strategy: str) -> None:
        """A strategy that says how far its next decision is records the same tape as one asked at every point."""

        async def play(conductor: Conductor) -> None:
            lock, queue = Mutex(conductor, "lock"), WaitQueue(conductor, "queue")

            async def work(number: int) -> None:
                for turn in range(6):
                    await lock.lock()
                    await steps(conductor, [], "", number + 1)
                    await lock.unlock()
                    await conductor.sleep(700 * (number + turn))
                    await conductor.relax(queue)
                    queue.wake_all()
                if number == 2:
                    raise RuntimeError("in the middle of a stretch")
                await queue.wait()

            for number in range(4):
                conductor.spawn(f"w{number}", work(number))

        for seed in range(8):
            tapes = [Tape(seed), Tape(seed)]
            for tape, chooser in zip(tapes, (parse(strategy), Asked(parse(strategy))), strict=True):
                with pytest.raises(RuntimeError, match="in the middle"):
                    perform(play, seed=seed, strategy=chooser, tape=tape)
            assert tapes[0].turns == tapes[1].turns
            assert len(tapes[0].turns) > 50

    def test_many_schedules_in_one_run(self) -> None:
        """One trio.run serves many schedules, and each is what it would be alone."""

        async def campaign(seeds: list[int]) -> list[list[tuple[int, int]]]:
            tapes = []
            for seed in seeds:
                strategy = parse("random")
                strategy.begin(strategy_rng(seed))
                conductor = Conductor(strategy, Tape(seed))
                seen: list[str] = []

                async def play(conductor: Conductor = conductor, seen: list[str] = seen) -> None:
                    for name in "abc":
                        conductor.spawn(name, steps(conductor, seen, name, 5))

                await conductor.run("main", play)
                tapes.append(conductor.tape.turns)
            return tapes

        assert trio.run(campaign, [1, 2, 3])[1:2] == trio.run(campaign, [2])

    def test_an_actor_may_spawn_another(self, perform: Perform) -> None:
        """A schedule ends when its last foreground actor has ended, whoever started it; daemons do not count."""
        seen: list[str] = []

        async def daemon(conductor: Conductor) -> None:
            while True:
                await conductor.sleep(10_000)

        async def parent(conductor: Conductor) -> None:
            await steps(conductor, seen, "p", 1)
            conductor.spawn("child", steps(conductor, seen, "c", 20))

        async def play(conductor: Conductor) -> None:
            conductor.spawn("daemon", daemon(conductor), daemon=True)
            conductor.spawn("parent", parent(conductor))

        perform(play)

        assert seen == ["p"] + ["c"] * 20

    def test_a_strategy_that_chooses_nobody_ready(self, perform: Perform) -> None:
        """A strategy of somebody else's that chooses an actor who cannot move is told so by name."""

        class Wrong(Asked):
            def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
                return self.stage.actors[0]

        async def play(conductor: Conductor) -> None:
            conductor.spawn("a", steps(conductor, [], "a", 2))
            conductor.spawn("b", steps(conductor, [], "b", 2))

        with pytest.raises(
            StrategyFailed, match=r"strategy asked: choose returned main, and not one of the ready actors \(a, b\)"
        ):
            perform(play, strategy=Wrong(parse("random")))


class TestTime:
    def test_a_point_costs_virtual_time(self, perform: Perform) -> None:
        """The clock goes on by STEP_NS a point."""

        async def play(conductor: Conductor) -> None:
            await steps(conductor, [], "a", 5)
            assert conductor.now == 5 * STEP_NS

        perform(play)

    def test_sleepers_wake_in_order(self, perform: Perform) -> None:
        """Sleepers wake by time; those of the same time are ready together, and who goes first is a choice."""
        seen: list[str] = []

        async def timer(conductor: Conductor, name: str, ns: int) -> None:
            await conductor.sleep(ns)
            seen.append(f"{name}@{conductor.now}")

        async def play(conductor: Conductor) -> None:
            for name, ns in (("late", 90_000), ("one", 50_000), ("two", 50_000)):
                conductor.spawn(name, timer(conductor, name, ns))

        conductor = perform(play)

        assert sorted(seen[:2]) == ["one@50000", "two@50000"]
        assert seen[2:] == ["late@90000"]
        assert conductor.tape.turns[-1][0] == 0b1100

    def test_an_hour_costs_nothing(self, perform: Perform) -> None:
        """When nobody is ready, time jumps to the next sleeper."""

        async def play(conductor: Conductor) -> None:
            await conductor.sleep(3_600_000_000_000)

        conductor = perform(play)

        assert conductor.now == 3_600_000_000_000
        assert conductor.step == 0

    def test_a_sleeper_is_due_among_points(self, perform: Perform) -> None:
        """A sleeper becomes ready at the first point at or after its time, though the other one goes on."""
        alone: list[int] = []

        async def play(conductor: Conductor) -> None:
            conductor.spawn("nap", conductor.sleep(2 * STEP_NS + 1))
            for _ in range(5):
                await steps(conductor, [], "main", 1)
                if conductor.alone:
                    alone.append(conductor.now)

        perform(play)

        assert alone == [2 * STEP_NS, 3 * STEP_NS, 4 * STEP_NS]  # asleep from 2000 ns on, due at 4001

    def test_wake_sleeper(self, perform: Perform) -> None:
        """A sleep can be ended early, once; who does not sleep cannot be woken."""
        woke: list[int] = []

        async def timer(conductor: Conductor) -> None:
            await conductor.sleep(1_000_000)
            woke.append(conductor.now)

        async def play(conductor: Conductor) -> None:
            sleeper = conductor.spawn("nap", timer(conductor))
            assert not conductor.wake_sleeper(sleeper)
            await conductor.sleep(5_000)
            assert conductor.wake_sleeper(sleeper)
            assert not conductor.wake_sleeper(sleeper)

        perform(play)

        assert woke == [5_000]

    @pytest.mark.parametrize("strategy", ["round_robin", "random", "pos", "pct:depth=1", "portfolio"])
    def test_relax_lets_others_move(self, perform: Perform, strategy: str) -> None:
        """An actor that spins until another has done something does not spin for ever, under any strategy."""

        async def play(conductor: Conductor) -> None:
            done: list[str] = []
            conductor.spawn("slow", steps(conductor, done, "x", 5))
            while len(done) < 5:
                await conductor.relax(done)

        for seed in range(20):
            perform(play, seed=seed, strategy=strategy, max_steps=1_000)

    def test_relax_alone_waits_for_a_sleeper(self, perform: Perform) -> None:
        """Who spins while all others sleep lets time jump to the first of them."""
        seen: list[str] = []

        async def timer(conductor: Conductor) -> None:
            await conductor.sleep(1_000_000)
            seen.append("up")

        async def play(conductor: Conductor) -> None:
            conductor.spawn("nap", timer(conductor))
            while not seen:
                await conductor.relax()
            assert conductor.step < 10

        perform(play)


class TestDeadlock:
    @staticmethod
    async def take(conductor: Conductor, first: Mutex, second: Mutex) -> None:
        await first.lock()
        await conductor.sleep(1_000)
        await second.lock()

    def test_the_waits_for_graph_names_locks_and_holders(self, perform: Perform) -> None:
        """A deadlock is a finding that says who waits for which lock and who holds it."""

        async def play(conductor: Conductor) -> None:
            a, b = Mutex(conductor, "A"), Mutex(conductor, "B")
            conductor.spawn("one", self.take(conductor, a, b))
            conductor.spawn("two", self.take(conductor, b, a))

        with pytest.raises(Finding) as caught:
            perform(play)

        assert "waits for B held by two" in caught.value.message
        assert "waits for A held by one" in caught.value.message
        assert caught.value.signature == "deadlock/deadlock@take"

    def test_a_busy_daemon_does_not_hide_it(self, perform: Perform) -> None:
        """Actors that wait for each other are found although a daemon goes on for ever, and it is not named."""
        made: list[Conductor] = []

        async def tick(conductor: Conductor) -> None:
            while True:
                await conductor.sleep(500)

        async def play(conductor: Conductor) -> None:
            a, b = Mutex(conductor, "A"), Mutex(conductor, "B")
            conductor.spawn("tick", tick(conductor), daemon=True)
            conductor.spawn("one", self.take(conductor, a, b))
            conductor.spawn("two", self.take(conductor, b, a))

        with pytest.raises(Finding, match="no actor can run"):
            perform(play, made=made)

        assert sorted(actor.name for actor in made[0].stuck) == ["one", "two"]

    def test_a_lock_taken_twice(self, perform: Perform) -> None:
        """An actor that takes a mutex that it holds is a deadlock of one."""

        async def play(conductor: Conductor) -> None:
            lock = Mutex(conductor, "A")
            await lock.lock()
            await lock.lock()

        with pytest.raises(Finding, match="main waits for A held by main"):
            perform(play)

    def test_waiting_for_nobody(self, perform: Perform) -> None:
        """Nobody ready and nobody asleep is a deadlock; a daemon that waits for work has no part in it."""

        async def play(conductor: Conductor) -> None:
            conductor.spawn("idler", WaitQueue(conductor, "work", idle=True).wait(), daemon=True)
            await WaitQueue(conductor, "godot").wait()

        with pytest.raises(Finding, match=r"no actor can run: main waits for godot$"):
            perform(play)

    @pytest.mark.parametrize("strategy", ["random", "pos", "pct"])
    def test_abba_is_found(self, perform: Perform, strategy: str) -> None:
        """Two locks taken in two orders without any sleep deadlock within a few schedules."""

        async def both(first: Mutex, second: Mutex) -> None:
            await first.lock()
            await second.lock()
            await second.unlock()
            await first.unlock()

        async def play(conductor: Conductor) -> None:
            a, b = Mutex(conductor, "A"), Mutex(conductor, "B")
            conductor.spawn("one", both(a, b))
            conductor.spawn("two", both(b, a))

        def campaign() -> None:
            for seed in range(60):
                perform(play, seed=seed, strategy=strategy)

        with pytest.raises(Finding, match="no actor can run"):
            campaign()


class TestRaces:
    def test_which_operations_race(self) -> None:
        """Two operations race if they touch the same field of the same object and not both only look."""
        page, other = object(), object()

        assert races((WRITE, page, "flags"), (READ, page, "flags"))
        assert races((ACQUIRE, page, ""), (ACQUIRE, page, ""))
        assert races((YIELD, page, ""), (WRITE, page, ""))
        assert not races((READ, page, "flags"), (READ, page, "flags"))
        assert not races((YIELD, page, ""), (READ, page, ""))
        assert not races((WRITE, page, "flags"), (WRITE, page, "mapping"))
        assert not races((WRITE, page, ""), (WRITE, other, ""))
        assert not races(NOTHING, NOTHING)
