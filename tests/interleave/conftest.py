"""What the tests of interleave/ share: one schedule of a few small actors, run to its end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio

from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.tape import Tape, strategy_rng

Play = Callable[[Conductor], Coroutine[Any, Any, None]]


@pytest.fixture
def perform() -> Callable[..., Conductor]:
    """Run one schedule whose first actor is `play(conductor)`; raises what it raises, and gives its conductor.

    `made` gets the conductor before it runs, for what is asked of it after it has raised.
    """

    def run(
        play: Play,
        *,
        seed: int = 0,
        strategy: str | Strategy = "round_robin",
        tape: Tape | None = None,
        made: list[Conductor] | None = None,
        **options: Any,
    ) -> Conductor:
        chooser = parse(strategy) if isinstance(strategy, str) else strategy
        chooser.begin(strategy_rng(seed))
        conductor = Conductor(chooser, Tape(seed) if tape is None else tape, **options)
        if made is not None:
            made.append(conductor)
        trio.run(conductor.run, "main", lambda: play(conductor))
        return conductor

    return run
