"""Stories: who does what to what others are at, and why the turn passes on."""

from __future__ import annotations

from functools import partial

import trio

from ksmactors.diagnose.story import LINES, OPERATIONS_MAX, ScheduleNarrator
from ksmactors.interleave.schedule_string import Departure
from ksmactors.interleave.tape import ScriptedTape
from ksmactors.model import Int, Model, Table
from ksmactors.run.outcome import Defect, Outcome
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject


class Meets(Model):
    """one reads and writes what another writes, between bystanders"""

    bystanders = Int(2, "others", high=50)
    reads = Int(1, "reads of as many things", high=20)

    async def run(self, table: Table) -> None:
        count, mutex = table.variable("count", 0), table.mutex("m")
        many = [table.variable(f"thing{number}", 0) for number in range(self.reads)]

        async def adds(shared: bool) -> None:
            value = await count.read()
            for one in many:
                await one.write(value)
            if shared:
                await mutex.lock()
            await count.write(value + 1)
            if shared:
                await mutex.unlock()

        async def stands(number: int) -> None:
            own = table.variable(f"own{number}", 0)
            await own.write(1)
            await mutex.lock()
            await mutex.unlock()

        others = {f"other/{number}": stands(number) for number in range(self.bystanders)}
        await table.concurrent({"reader": adds(shared=True), "writer": adds(shared=False), **others})
        table.check(count.value == 2, "lost", "a count is lost")


def told(departures: list[Departure], *, about: tuple[object, ...] = (), **params: int) -> tuple[str, ...]:
    """The story of a schedule."""
    chronicle = ScheduleNarrator()
    outcome: Outcome = trio.run(partial(
        run_schedule, make_subject(Meets, params=params), 0, "follow",
        deciding=chronicle.follower(departures), tape=ScriptedTape({}), observing=chronicle,
    ))  # fmt: skip
    return chronicle.story(outcome.defect or NONE, about)


NONE = Defect("none", "model", "model/none@run", "nothing", 0, ("host",), ("run",), ())

STOP = [Departure("reader", "takes m", "writer", at, stuck=0) for at in range(20)]
"""The reader is stopped before it takes the mutex, after so many points."""


def stopped(**params: int) -> tuple[str, ...]:
    """The story of the schedule in which the reader is stopped between its read and its write."""
    stories = [told([one], **params) for one in STOP]
    return next(story for story in stories if "a count is lost" in story[-1])


def test_who_is_stopped_before_what() -> None:
    """The story says who looked at what, before what it was stopped, what the other did, and what was found."""
    story = stopped()
    place = next(k for k, line in enumerate(story) if "is stopped" in line)
    assert "reader reads count, " in story[place]
    assert story[place].endswith("is stopped before it takes m")
    assert story[place + 1].startswith("writer ")
    assert "writes count" in story[place + 1]
    assert story[place + 1].endswith("ends")
    assert any(line.endswith("reader writes count, ends") for line in story[place + 2 :])
    assert story[-1].startswith("found at step ")
    assert story[-1].endswith("in run: a count is lost")


def test_what_nobody_else_touches_is_left_out() -> None:
    """What only one actor is at is nobody's business."""
    assert "own" not in "".join(stopped())


def test_it_stays_short() -> None:
    """With many actors and many operations it keeps to its lines and deeds, says what it leaves out, and has the
    departure in it."""
    story = stopped(bystanders=40, reads=12)
    assert len(story) <= LINES + 1
    assert any("turns later) " in line for line in story)
    assert any("is stopped before it takes m" in line for line in story)
    long = next(line for line in story if line.startswith("writer") or ") writer" in line)
    assert "..., " in long
    assert long.count("writes ") <= OPERATIONS_MAX


def test_the_default_order_has_a_story_too() -> None:
    """Without departures the last turns are told."""
    story = told([])
    assert any("reader" in line and line.endswith("ends") for line in story)
    assert story[-1] == "found at step 0, in run: nothing"


def test_what_it_is_about_is_told() -> None:
    """Turns that change what a finding is about are told although no departure is near."""
    seen: list[object] = []

    class Looks(Meets):
        async def run(self, table: Table) -> None:
            seen.append(thing := table.variable("count", 0))

            async def writes() -> None:
                await thing.write(1)

            async def nothing() -> None:
                await table.step()

            await table.concurrent({"first": writes(), **{f"other/{k}": nothing() for k in range(30)}})

    def story(about: list[object]) -> str:
        chronicle = ScheduleNarrator()
        trio.run(partial(
            run_schedule, make_subject(Looks), 0, "follow", deciding=chronicle.follower([]), observing=chronicle
        ))  # fmt: skip
        return "\n".join(chronicle.story(NONE, seen[-1:] if about else ()))

    assert "first writes count" in story([1])
    assert "first writes count" not in story([])
