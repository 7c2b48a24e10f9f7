"""Programs that end in every way there is."""

from __future__ import annotations

import signal

from ksmactors.model import Model, Table


class Fine(Model):
    """Nothing is wrong with it."""

    async def run(self, table: Table) -> None:
        one, two = table.step(), table.step()
        await table.concurrent({"one": one, "two": two})


class Finds(Model):
    """Finds something in every schedule."""

    async def run(self, table: Table) -> None:
        await table.step()
        table.check(False, "wrong", "as always")


class Crashes(Model):
    """Raises."""

    async def run(self, table: Table) -> None:
        await table.step()
        raise ZeroDivisionError("by design")


class Endless(Model):
    """Never ends."""

    async def run(self, table: Table) -> None:
        while True:
            await table.step()


class Interrupted(Model):
    """Somebody presses Ctrl-C in the middle of each schedule."""

    async def run(self, table: Table) -> None:
        await table.step()
        signal.raise_signal(signal.SIGINT)
        await table.concurrent({"one": table.step(), "two": table.step()})
        table.check(False, "wrong", "it went on")
