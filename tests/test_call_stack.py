"""Whose functions are named where an actor is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest
import trio

from ksmactors import call_stack
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.seams import part, seam


class Kernel:
    """What is taken for an emulated kernel: it has a `kernel_name`."""

    kernel_name = "made up"

    @seam
    def do_wp_page(self, then: Callable[[], object]) -> object:
        return self.a_part_of_it(then)

    @part
    def a_part_of_it(self, then: Callable[[], object]) -> object:
        return self._private(then)

    def _private(self, then: Callable[[], object]) -> object:
        return then()


def here() -> FrameType:
    """The frame of the caller."""
    return sys._getframe(1)


def test_parts_and_private_functions_stand_for_their_caller() -> None:
    """The kernel function is the innermost that is neither private nor a part, and not one of those besides."""

    def ask() -> tuple[str, str]:
        frames = list(call_stack.callers(here()))
        return call_stack.kernel_function(frames), call_stack.kernel_function(frames, {"do_wp_page"})

    assert Kernel().do_wp_page(ask) == ("do_wp_page", "none")
    assert ask() == ("none", "none")


def test_named_passes_over() -> None:
    """From a private function and a part one comes to the function around them; one with a name stands for itself."""
    seen = Kernel()._private(lambda: call_stack.named(here()).f_code.co_name)
    assert seen == "test_named_passes_over"
    assert Kernel().do_wp_page(lambda: call_stack.named(here()).f_code.co_name) == "do_wp_page"
    assert call_stack.named(here()).f_code.co_name == "test_named_passes_over"


def test_frames_of_an_exception() -> None:
    """Those that it has passed through, innermost first; what raised it is a kernel function."""

    def fail() -> None:
        raise ValueError("gone wrong")

    with pytest.raises(ValueError, match="gone wrong") as error:
        Kernel().do_wp_page(fail)

    frames = call_stack.frames_of(error.value)
    assert call_stack.names(frames[:3]) == ["fail", "_private", "a_part_of_it"]
    assert call_stack.kernel_function(frames) == "do_wp_page"


def test_the_conductor_is_no_part_of_a_call_stack() -> None:
    """Of an actor that runs or waits only its own functions are told, outermost first; not what it waits for."""
    running: list[str] = []
    parked: list[str] = []
    everything: list[str] = []

    async def body(conductor: Conductor) -> None:
        running.extend(call_stack.running_functions())
        await inner(conductor)

    async def inner(conductor: Conductor) -> None:
        await conductor.sleep(1_000_000)

    async def main(conductor: Conductor) -> None:
        sleeper = conductor.spawn("sleeper", body(conductor))
        await conductor.sleep(1_000)
        parked.extend(call_stack.names(sleeper.call_chain()))
        everything.extend(call_stack.names(call_stack.all_parked_frames(sleeper.coroutine)))

    strategy = parse("round_robin")
    strategy.begin(strategy_rng(0))
    conductor = Conductor(strategy, Tape(0))
    trio.run(conductor.run, "main", lambda: main(conductor))

    assert running == ["body"]
    assert parked == ["body", "inner"]
    assert everything[:3] == ["body", "inner", "sleep"]
