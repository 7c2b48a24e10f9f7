"""Programs that take their time, and little CPU time, for tests that watch a campaign for a while."""

from __future__ import annotations

import time

from ksmactors.model import Model, Table


class Slow(Model):
    """has more interleavings than anybody waits for"""

    async def run(self, table: Table) -> None:
        time.sleep(0.01)  # noqa: ASYNC251  # the process sleeps, not the actor
        total = table.variable("total", 0)

        async def work() -> None:
            await total.write(await total.read() + 1)

        await table.concurrent({f"worker/{number}": work() for number in range(9)})


class Other(Slow):
    """is another one"""
