"""A tiny schedule, and the log it gives."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeAlias

import pytest
import trio

from ksmactors.events.trace import Trace
from ksmactors.interleave.actor import READ
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.round_robin import RoundRobin
from ksmactors.interleave.tape import Tape

Body: TypeAlias = Callable[[Conductor, Trace], Coroutine[Any, Any, None]]


@pytest.fixture
def schedule() -> Callable[..., tuple[Conductor, Trace]]:
    """Runs `main(conductor, trace)` as the first actor; `prepare(conductor, trace)` attaches sinks before it starts.

    The trace is flushed whatever happens, as the emulator does.
    """

    def run(main: Body, prepare: Callable[[Conductor, Trace], None]) -> tuple[Conductor, Trace]:
        strategy = RoundRobin()
        strategy.begin(Random(0))
        conductor = Conductor(strategy, Tape(0))
        trace = Trace(conductor)
        prepare(conductor, trace)
        try:
            trio.run(conductor.run, "main", lambda: main(conductor, trace))
        finally:
            trace.flush()
        return conductor, trace

    return run


@pytest.fixture
def pass_point() -> Callable[[Conductor], Any]:
    """One step: whoever is ready may move."""
    return lambda conductor: conductor.point(READ, None)
