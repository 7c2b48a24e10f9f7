"""Models: what an author writes, and what is said of one that goes wrong."""

from __future__ import annotations

import trio

from ksmactors.events import catalogue as ev
from ksmactors.model import Int, Model, Table
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject


class Drawn(Model):
    """draws what it writes"""

    async def run(self, table: Table) -> None:
        x = table.variable("x", 0)

        async def writer() -> None:
            await x.write(table.draw("value", 1000))
            table.mark("written")

        await table.concurrent({"a": writer(), "b": writer()})
        await table.concurrent({"c": writer()})
        await table.concurrent({})
        table.check(x.value < 0, "drawn", f"x is {x.value}")


class Crash(Model):
    """divides by zero"""

    by = Int(0, "what it divides by")

    async def run(self, table: Table) -> None:
        async def divider() -> None:
            await table.step()
            assert 1 // self.by

        await table.concurrent({"one": divider(), "other": divider()})


class Foreign(Model):
    """awaits something of its own"""

    async def run(self, table: Table) -> None:
        await table.concurrent({"one": trio.sleep(1), "other": trio.sleep(1)})  # noqa: ASYNC105  # that is what is wrong


def run(model: type[Model], seed: int = 0) -> Outcome:
    """One schedule of a model."""
    return trio.run(lambda: run_schedule(make_subject(model), seed, "random", keep=True))


def message(outcome: Outcome) -> str:
    """What is told of its defect."""
    assert outcome.defect is not None
    return outcome.defect.message


def test_several_meetings() -> None:
    """A model may draw, mark places, and let actors meet more than once; meetings of one and of nobody end too."""
    outcome = run(Drawn)

    assert outcome.defect is not None
    assert (outcome.defect.watcher, outcome.defect.kind, outcome.defect.functions) == ("model", "drawn", ("run",))
    assert outcome.counts[ev.WORKLOAD_MARK] == 3
    assert message(outcome) == message(run(Drawn))
    assert message(outcome) != message(run(Drawn, seed=1))


def test_a_model_that_crashes() -> None:
    """An exception of an actor's is told with its place, as that of a workload."""
    outcome = run(Crash)

    assert outcome.verdict is Verdict.CRASHED
    assert "workload Crash raised ZeroDivisionError" in message(outcome)
    assert "in divider" in message(outcome)


def test_a_foreign_await() -> None:
    """An actor that awaits what is not the table's is told so."""
    outcome = run(Foreign)

    assert outcome.verdict is Verdict.CRASHED
    assert "one awaits sleep" in message(outcome)
