"""A machine with all its actors, on which a test plays the workload."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio

from ksmactors.events.trace import Trace
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.round_robin import RoundRobin
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.machine import Machine
from ksmactors.workload import Host, Workload

Play = Callable[[Host], Awaitable[None]]


@pytest.fixture
def perform() -> Iterator[Callable[..., Host]]:
    """Run one schedule in which `play(host)` is the workload; returns the host when it is over."""

    def run(
        play: Play, *, seed: int = 1, strategy: Strategy | None = None, nodes: int = 2, kernel: str = "series",
        **params: Any,
    ) -> Host:  # fmt: skip
        class Played(Workload):
            name = "played"

            async def run(self, host: Host) -> None:
                await play(host)

        who = strategy or RoundRobin()
        who.begin(strategy_rng(seed))
        conductor = Conductor(who, Tape(seed), max_steps=500_000)
        host = Host(Machine(conductor, Trace(conductor), nodes=nodes, kernel=kernel))
        trio.run(conductor.run, "main", lambda: host.main(Played(**{"balance_us": 0, **params})))
        return host

    return run
