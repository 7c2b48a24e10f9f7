"""The options of `ksmactors replay` that stop on the way: --step, --until and --explore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from ksmactors.cli.exploring import ContinuationRun, checked
from ksmactors.cli.options import WholeNumber
from ksmactors.cli.places import goal_named
from ksmactors.cli.stepper import EXPLORED_MAX, StepPrompt
from ksmactors.diagnose.replaying import Recorded
from ksmactors.errors import UsageError
from ksmactors.interleave.strategies.random_walk import RandomWalk

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option(
        "--step", is_flag=True,
        help="Walk through the replay: next, back, to the next departure, until an object is touched; print objects, "
        "actors, locks and trees. Commands come from the terminal, or from standard input, one a line; `help` lists "
        "them.",
    ),
    click.option(
        "--until", metavar="STEP|OBJECT|EVENT",
        help="Stop at a step, when an object is touched (stable_node/1, pte/A/0x10000, ksm_thread_mutex) or after an "
        "event (see `list events`), and show where things stand. Exits with 0 there; with 4 if it never comes.",
    ),
    click.option(
        "--explore", type=WholeNumber(1, EXPLORED_MAX), metavar="N",
        help="Follow the recording up to --until, draw N continuations from there, and say how many of them fail. "
        "Without --until: from the start, and after each departure from the default order. Exits with 1 if any fails.",
    ),
    click.option(
        "--strategy", metavar="NAME[:K=V,...]",
        help=f"Who chooses in continuations [default: {RandomWalk.name}]; see `list strategies`.",
    ),
)  # fmt: skip


def walk_options(command: Command) -> Command:
    """The options; the command gets them as one `walk`, see `Walk.of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Walk:
    """Where on the way a replay stops, and what is done there."""

    step: bool
    until: str | None
    explore: int | None
    strategy: str | None

    @classmethod
    def of(
        cls, source: str, given: dict[str, Any], *, log: str | None, detail: bool, as_json: bool, explain: bool
    ) -> Walk | None:
        """Return what the options ask for; None if they ask for nothing.

        Raises:
            UsageError: options that do not go together.
        """
        walk = cls(given["step"], given["until"], given["explore"], given["strategy"])
        if walk.strategy is not None and walk.explore is None:
            raise UsageError("--strategy is for continuations: give --explore N, too")
        if not (walk.step or walk.until is not None or walk.explore is not None):
            return None
        name = "--step" if walk.step else "--until" if walk.until is not None else "--explore"
        if log is not None or detail:
            raise UsageError(f"{name} stops on the way: --log and --detail are for whole replays, leave them out")
        if explain:
            raise UsageError(f"--explain shows a whole schedule, and {name} stops on the way: leave one of them out")
        if walk.step and walk.explore is not None:
            raise UsageError("--step and --explore do not go together: give `explore N` as a command of --step")
        if walk.step and as_json:
            raise UsageError("--step is for a person or a script of commands: it has no --json; --until has")
        if walk.step and source == "-":
            raise UsageError("--step reads commands from standard input: give the finding as a file")
        return walk

    def run(self, then: Recorded, *, as_json: bool, quiet: bool, color: str) -> int:
        """Walk, or stop and continue. Returns the exit status.

        Raises:
            UsageError: there is no such strategy, or the point cannot be one.
        """
        goal = goal_named(self.until) if self.until is not None else None
        if self.step:
            return StepPrompt(then, color=color).run(goal)
        strategy = self.strategy or RandomWalk.name
        checked(strategy)
        return ContinuationRun(then, goal, self.explore, strategy).run(as_json=as_json, quiet=quiet)
