"""A model in which many switches are needless: actors write what is their own, and once what they share."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import trio

from ksmactors.model import Model, Table
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject


class Apart(Model):
    """actors write what is their own, and once what they share: one switch decides who is lost"""

    rounds: ClassVar[int] = 12
    """Writes of each actor to something of its own, before and after, at each of which a random schedule may switch."""
    names: ClassVar[tuple[str, ...]] = ("one", "two", "three")

    async def run(self, table: Table) -> None:
        shared = table.variable("shared", 0)

        async def works(name: str) -> None:
            own = table.variable(name, 0)
            for number in range(self.rounds):
                await own.write(number)
            await shared.write(await shared.read() + 1)
            for number in range(self.rounds):
                await own.write(number)

        await table.concurrent({name: works(name) for name in self.names})
        table.check(shared.value == len(self.names), "lost", f"{len(self.names)} added up to {shared.value}")


def found(model: type[Apart]) -> Outcome:
    """A random schedule with many switches that loses something."""
    subject = make_subject(model)
    for seed in range(200):
        outcome = trio.run(partial(run_schedule, subject, seed, "random"))
        if outcome.verdict is Verdict.FINDING:
            return outcome
    raise AssertionError("not found")
