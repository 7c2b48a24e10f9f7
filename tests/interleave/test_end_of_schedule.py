"""What ends a schedule, and what it leaves behind."""

from __future__ import annotations

import pytest
import trio

from ksmactors.errors import EmulatorBug, Finding, ForeignAwait, StepLimit
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import Mutex, WaitQueue
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.tape import Tape, strategy_rng
from tests.interleave.test_conductor import Perform, steps


class TestTheEnd:
    def test_step_limit(self, perform: Perform) -> None:
        """A schedule that does not end is given up at max_steps, exactly."""
        made: list[Conductor] = []

        async def play(conductor: Conductor) -> None:
            await steps(conductor, [], "a", 1_000_000)

        with pytest.raises(StepLimit, match="no end after 100 steps"):
            perform(play, made=made, max_steps=100)
        assert made[0].step == 100

    def test_step_limit_of_a_spinner(self, perform: Perform) -> None:
        """A livelock in relax names the spinner and the function that it spins in."""

        async def play(conductor: Conductor) -> None:
            while True:
                await conductor.relax()

        with pytest.raises(StepLimit, match="main spins in play"):
            perform(play, max_steps=50)

    def test_an_exception_of_an_actor_propagates(self, perform: Perform) -> None:
        """What an actor raises comes out of run as it is, not in a group, and ends the others."""
        made: list[Conductor] = []
        seen: list[str] = []

        async def crash(conductor: Conductor) -> None:
            await steps(conductor, [], "", 3)
            raise ZeroDivisionError("boom")

        async def play(conductor: Conductor) -> None:
            conductor.spawn("crash", crash(conductor))
            await steps(conductor, seen, "m", 100)

        with pytest.raises(ZeroDivisionError, match="boom"):
            perform(play, made=made)
        assert made[0].over
        assert len(seen) < 10
        assert made[0].places == {0: "steps"}

    def test_nothing_hides_a_failure(self, perform: Perform) -> None:
        """An actor that swallows the conductor's errors does not go on, and the finding is kept."""

        async def stubborn(conductor: Conductor) -> None:
            while True:
                try:
                    await WaitQueue(conductor, "nothing").wait()
                except Exception:
                    await steps(conductor, [], "", 1_000)

        async def play(conductor: Conductor) -> None:
            await stubborn(conductor)

        with pytest.raises(Finding, match="deadlock"):
            perform(play)

    def test_cleaning_up_is_in_order(self, perform: Perform) -> None:
        """Actors that are cut off clean up in the order of their numbers, and cannot wait, wake or draw any more."""
        seen: list[str] = []

        async def cut(conductor: Conductor, lock: Mutex, name: str) -> None:
            try:
                await WaitQueue(conductor, name).wait()
            finally:
                seen.append(name)
                await lock.lock()
                seen.append("never")

        async def play(conductor: Conductor) -> None:
            lock = Mutex(conductor, "lock")
            for name in "abcdefgh":
                conductor.spawn(name, cut(conductor, lock, name), daemon=True)
            await conductor.sleep(1)

        conductor = perform(play)

        assert seen == list("abcdefgh")
        assert conductor.tape.draws == []

    def test_cancelled_from_outside(self) -> None:
        """A schedule whose caller is cancelled ends quietly, with everything closed, and leaves trio usable."""
        closed: list[str] = []

        async def main() -> str:
            strategy = parse("round_robin")
            strategy.begin(strategy_rng(0))
            conductor = Conductor(strategy, Tape(0))

            async def worker(name: str) -> None:
                try:
                    while True:
                        await conductor.relax()
                finally:
                    closed.append(name)

            async def play() -> None:
                conductor.spawn("other", worker("other"))
                await conductor.relax()
                scope.cancel()
                await worker("main")

            with trio.CancelScope() as scope:
                await conductor.run("main", play)
            await trio.lowlevel.checkpoint()
            return "alive"

        assert trio.run(main) == "alive"
        assert sorted(closed) == ["main", "other"]

    def test_a_foreign_await_is_refused(self, perform: Perform) -> None:
        """An await that does not go through the conductor raises in the actor, naming the call, function and line."""

        async def naps() -> None:
            await trio.sleep(0.01)

        async def play(conductor: Conductor) -> None:
            await naps()

        with pytest.raises(ForeignAwait, match=r"main awaits sleep in .*naps \(.*test_end_of_schedule\.py:\d+\)"):
            perform(play)

    def test_spawn_before_run(self) -> None:
        """An actor cannot be added before the schedule runs."""
        conductor = Conductor(parse("random"), Tape(0))
        coro = steps(conductor, [], "", 1)

        with pytest.raises(EmulatorBug, match="spawn before run"):
            conductor.spawn("early", coro)

    def test_woken_twice(self, perform: Perform) -> None:
        """Waking an actor that is ready is a defect of the emulator, and is said so."""

        async def play(conductor: Conductor) -> None:
            other = conductor.spawn("other", steps(conductor, [], "", 3))
            conductor.wake(other)

        with pytest.raises(EmulatorBug, match="other is made ready twice"):
            perform(play)
