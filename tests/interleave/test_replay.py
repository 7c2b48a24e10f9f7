"""Replay: the same turns and draws again, and what is said when they cannot be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ksmactors.errors import Finding, ReplayDiverged
from ksmactors.interleave.actor import WRITE
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import Mutex, SpinLock, WaitQueue
from ksmactors.interleave.schedule_string import Schedule, decode, encode
from ksmactors.interleave.strategies.registry import STRATEGIES
from ksmactors.interleave.strategies.replay import Replay, ReplayTape
from ksmactors.interleave.tape import Tape

Perform = Callable[..., Conductor]

HEADER = {"workload": "busy", "seed": 1}


async def busy(conductor: Conductor, *, workers: int = 4, extra: str = "") -> None:
    """A play with everything in it: locks, sleep, spinning, waiting, draws, children and daemons."""
    mutex, spin, queue = Mutex(conductor, "mutex"), SpinLock(conductor, "spin"), WaitQueue(conductor, "queue")

    async def tick() -> None:
        while True:
            await conductor.sleep(5_000)
            queue.wake_all()

    async def child(number: int) -> None:
        await conductor.point(WRITE, queue, f"child{number}")

    async def work(number: int) -> None:
        for _ in range(3):
            kind = conductor.draw("kind", 4)
            if kind == 0:
                await mutex.lock()
                await conductor.point(WRITE, queue, "x")
                await conductor.sleep(conductor.draw("sleep", 3_000))
                await mutex.unlock()
            elif kind == 1:
                await spin.lock()
                await conductor.point(WRITE, queue, "y")
                await spin.unlock()
            elif kind == 2:
                await conductor.relax(queue)
            else:
                await queue.wait()
        conductor.spawn(f"child of {number}", child(number))

    conductor.spawn("tick", tick(), daemon=True)
    for number in range(workers):
        conductor.spawn(f"w{number}{extra}", work(number))


async def clash(conductor: Conductor) -> None:
    """Two locks in two orders, after some steps of a third actor."""
    a, b = Mutex(conductor, "A"), Mutex(conductor, "B")

    async def both(first: Mutex, second: Mutex) -> None:
        await first.lock()
        await second.lock()
        await second.unlock()
        await first.unlock()

    conductor.spawn("one", both(a, b))
    conductor.spawn("two", both(b, a))
    await conductor.point(WRITE, a)


def recorded(perform: Perform, play: Callable[..., object], strategy: str, seed: int) -> tuple[str, str]:
    """The schedule string of a run, and what it ended with."""
    tape = Tape(seed)
    ended = "the end"
    try:
        perform(play, seed=seed, strategy=strategy, tape=tape)
    except Finding as finding:
        ended = finding.message
    return encode(Schedule(HEADER, tape.turns, tape.draws)), ended


def replayed(perform: Perform, play: Callable[..., object], text: str) -> tuple[str, str]:
    """The same for the replay of a string, which must be followed to its end."""
    schedule = decode(text)
    tape, replay = ReplayTape(schedule), Replay(schedule)
    ended = "the end"
    try:
        perform(play, strategy=replay, tape=tape)
    except Finding as finding:
        ended = finding.message
    assert replay.left == 0
    return encode(Schedule(schedule.header, tape.turns, tape.draws)), ended


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_byte_identical(perform: Perform, strategy: str) -> None:
    """A replay ends as the recorded run did, and records the same bytes, for every strategy."""
    endings = set()
    for seed in range(6):
        for play in (busy, clash):
            original = recorded(perform, play, strategy, seed)
            assert replayed(perform, play, original[0]) == original
            assert len(decode(original[0]).turns) > 2
            endings.add(original[1][:10])
    assert "the end" in endings


def test_findings_replay(perform: Perform) -> None:
    """A schedule that ends in a finding leads to it again."""
    endings = [recorded(perform, clash, "random", seed) for seed in range(20)]
    found = [original for original in endings if original[1].startswith("no actor can run")]

    assert found
    assert replayed(perform, clash, found[0][0]) == found[0]


def test_another_ready_set(perform: Perform) -> None:
    """A run that goes another way is told at that choice, with both ready sets by number and name."""
    schedule = decode(recorded(perform, busy, "random", 3)[0])

    async def fewer(conductor: Conductor) -> None:
        await busy(conductor, workers=3)

    with pytest.raises(ReplayDiverged) as caught:
        perform(fewer, strategy=Replay(schedule), tape=ReplayTape(schedule))

    assert caught.value.choice == 0
    assert caught.value.expected == "ready 1 tick, 2 w0, 3 w1, 4 w2, 5 (not started)"
    assert caught.value.got == "ready 1 tick, 2 w0, 3 w1, 4 w2"
    assert "the replay diverges at choice 0 (step 0)" in str(caught.value)


def test_a_divergence_in_the_middle(perform: Perform) -> None:
    """The choice and the step that are named are those where the two runs part."""
    schedule = decode(recorded(perform, busy, "round_robin:quantum=5", 3)[0])
    place = next(k for k in range(20, len(schedule.turns)) if schedule.turns[k] != schedule.turns[k - 1])
    mask, chosen = schedule.turns[place]
    schedule.turns[place] = mask | 1 << 60, chosen

    with pytest.raises(ReplayDiverged, match=r"60 \(not started\)") as caught:
        perform(busy, strategy=Replay(schedule), tape=ReplayTape(schedule))

    assert caught.value.choice == place
    assert caught.value.step > 0


@pytest.mark.parametrize(
    ("was", "expected"), [(("king", 4), "draw 0 of 'king' from 0..3"), (("kind", 9), "draw 0 of 'kind' from 0..8")]
)
def test_another_draw(perform: Perform, was: tuple[str, int], expected: str) -> None:
    """A draw with another label or range than was recorded is a divergence, too."""
    schedule = decode(recorded(perform, busy, "random", 3)[0])
    schedule.draws[0] = (*was, 0)

    with pytest.raises(ReplayDiverged) as caught:
        perform(busy, strategy=Replay(schedule), tape=ReplayTape(schedule))

    assert (caught.value.expected, caught.value.got) == (expected, "'kind' from 0..3")


def test_a_recording_that_ends_early(perform: Perform) -> None:
    """After the recording ends the holder of the turn goes on, then the lowest number, and draws give 0."""
    order: list[str] = []

    async def steps(conductor: Conductor, name: str) -> None:
        for _ in range(2):
            await conductor.point(WRITE, order)
            order.append(f"{name}{conductor.draw('n', 5)}")

    async def play(conductor: Conductor) -> None:
        for name in "abc":
            conductor.spawn(name, steps(conductor, name))

    schedule = Schedule({}, [(0b1110, 3), (0b1110, 2)], [("n", 5, 4)])
    replay = Replay(schedule)
    conductor = perform(play, strategy=replay, tape=ReplayTape(schedule))

    assert order == ["b4", "b0", "a0", "a0", "c0", "c0"]
    assert conductor.tape.turns[:2] == schedule.turns
    assert replay.left == 0


def test_a_run_that_ends_early(perform: Perform) -> None:
    """What was recorded and not asked for is counted."""
    schedule = decode(recorded(perform, busy, "random", 3)[0])
    schedule.turns += [(0b110, 1)] * 3
    replay = Replay(schedule)

    perform(busy, strategy=replay, tape=ReplayTape(schedule))

    assert replay.left == 3
