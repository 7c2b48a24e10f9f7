"""For property tests: hypothesis strategies that draw workload parameters, schedules and scenarios, and what runs them.

    from hypothesis import given, settings
    from ksmactors.testing import check, params, schedules

    @settings(deadline=None)
    @given(params=params("vm_fleet"), schedule=schedules())
    def test_fleet(params, schedule):
        check("vm_fleet", schedule, params=params)

Everything shrinks: parameters to their defaults, a schedule to seed 0 of the first strategy, a scenario line by line.
Needs hypothesis, which the extra `testing` installs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar, Unpack

import anyio
from typing_extensions import override

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import DrawFn, SearchStrategy
except ImportError:
    raise ImportError("ksmactors.testing needs hypothesis: pip install 'ksmactors[testing]'") from None

from ksmactors.campaign.findings import prepare, replay_command, save
from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.generate import Generator
from ksmactors.conformance.language import Scenario
from ksmactors.errors import UsageError, unknown
from ksmactors.parameters import Bool, FilePath, Int, Parameter, Str, parameters_of
from ksmactors.plugins import load_workload
from ksmactors.program import Program
from ksmactors.run.extensions import check_strategy
from ksmactors.run.header import SEED_LIMIT
from ksmactors.run.options import GivenOptions, SubjectOptions
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import load_subject, watchers_of

__all__ = [
    "DrawnScenario", "ScheduleChoice", "check", "check_scenario", "params", "perform_scenario", "scenario_text",
    "scenarios", "schedules", "seeds",
]  # fmt: skip

T = TypeVar("T")

STRATEGIES: Final = ("pos", "random", "surw", "pct")
"""Strategies that `schedules` chooses from."""

SEEDS: Final = 1_000
"""Seeds that are drawn from by default."""

DEFAULT_TIMES: Final = 4
DEFAULT_BEYOND: Final = 16
"""A whole number goes up to so many times its default, or so far above its lowest value, whichever is more."""

SCHEDULE_MAX: Final = 4_000
"""Characters of a schedule string that still fit into a message."""


_ACTIONS_TOGETHER: Final = 8
"""Actions of a scenario that are drawn as one list: hypothesis makes short lists, and leaves out parts of several."""


@dataclass(frozen=True, slots=True)
class ScheduleChoice:
    """Where the choices of a schedule come from: a seed, and a strategy as `--strategy` takes it."""

    seed: int = 0
    strategy: str = STRATEGIES[0]


# -- what is drawn ----------------------------------------------------------------------------------------------------


def seeds(below: int = SEEDS) -> SearchStrategy[int]:
    """Seeds of schedules, from 0 to `below` - 1; shrinks to 0.

    A seed is as good as any other, so that of few seeds a small one that fails is found soon.

    Raises:
        UsageError: there are no so large seeds.
    """
    if not 0 < below <= SEED_LIMIT:
        raise UsageError(f"seeds are from 0 to 2**63 - 1; below={below} is no end of theirs")
    return st.integers(0, below - 1)


def schedules(strategies: Sequence[str] = STRATEGIES, *, below: int = SEEDS) -> SearchStrategy[ScheduleChoice]:
    """Schedules: a seed as `seeds` draws it, and one of some strategies; shrinks to seed 0 of the first.

    Raises:
        UsageError: there is no such strategy.
    """
    for name in strategies:
        check_strategy(name)
    return st.builds(ScheduleChoice, seeds(below), st.sampled_from(list(strategies)))


def params(workload: str | type[Program], **instead: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    """Parameters of a workload by name, for `params=` of `check` and `stress`; shrinks to none, all defaults.

    Whole numbers stay in reach of their defaults, since larger ones take long. Paths, and texts without choices, are
    left at their defaults.

    Args:
        workload: a registered name, `path/to/file.py:Class`, `package.module:Class`, or the class.
        instead: for a parameter, the strategy that draws it.

    Raises:
        UsageError: there is no such workload, or no such parameter.
    """
    known = parameters_of(load_workload(workload) if isinstance(workload, str) else workload)
    for name in instead:
        if name not in known:
            raise UsageError(unknown(f"parameter of {workload}", name, known))
    drawn = {name: _values_of(one) for name, one in known.items()} | instead
    return st.fixed_dictionaries({}, optional={name: one for name, one in drawn.items() if one is not None})


def _values_of(parameter: Parameter[Any]) -> SearchStrategy[Any] | None:
    """The values of a parameter; None if they cannot be drawn."""
    match parameter:
        case Int():
            most = max(DEFAULT_TIMES * parameter.default, parameter.low + DEFAULT_BEYOND)
            return st.integers(parameter.low, min(most, parameter.high))
        case Bool():
            return st.booleans()
        case Str() if parameter.choices:
            return st.sampled_from(parameter.choices)
        case FilePath() | Str():
            return None
    return None


@st.composite
def scenarios(draw: DrawFn, *, nodes: int = 2, swap: bool = True, max_actions: int = 16) -> Scenario:
    """Scenarios in the mix of `conform --random`; shrinks by leaving out actions, and to small ones.

    Args:
        draw: what hypothesis passes; not an argument of the caller.
        nodes: NUMA nodes of the machine.
        swap: whether it has swap.
        max_actions: actions between the start and the end, of a line or some each.
    """
    writer = _DrawnGenerator(draw, nodes, swap)
    writer.begin()
    for start in range(0, max_actions, _ACTIONS_TOGETHER):
        draw(st.lists(st.builds(writer.act), max_size=min(_ACTIONS_TOGETHER, max_actions - start)))
    return DrawnScenario("drawn", "drawn", writer.finish("drawn").lines)


class DrawnScenario(Scenario):
    """A scenario that hypothesis shows as the text that its file would have."""

    @override
    def __repr__(self) -> str:
        return f"\n{scenario_text(self)}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


class _DrawnBits(Random):
    """Random bits that hypothesis draws."""

    def __init__(self, draw: DrawFn) -> None:
        super().__init__(0)
        self._draw = draw

    @override
    def getrandbits(self, k: int, /) -> int:
        return self._draw(st.integers(0, (1 << k) - 1))


class _DrawnGenerator(Generator):
    """Writes a scenario whose choices hypothesis draws: the simplest are few, first and false."""

    def __init__(self, draw: DrawFn, nodes: int, swap: bool) -> None:
        self._draw = draw
        super().__init__(_DrawnBits(draw), nodes, swap)

    @override
    def number(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    @override
    def chance(self, times: int, of: int) -> bool:
        return self._draw(st.integers(0, of - 1)) >= of - times

    @override
    def one(self, of: Sequence[T]) -> T:
        return of[self._draw(st.integers(0, len(of) - 1))]


# -- what runs it -----------------------------------------------------------------------------------------------------


def check(
    workload: str | type[Program],
    schedule: ScheduleChoice | int = 0,
    *,
    out: Path | None = None,
    **options: Unpack[GivenOptions],
) -> Outcome:
    """Run one schedule of a workload, and raise what went wrong.

    Args:
        workload: as for `ksmactors.stress`.
        schedule: what `schedules` draws, or a seed.
        out: a directory for a finding file; None: the message has the schedule string, if it is short.
        options: params, kernel, nodes, without, with_, watch, max_steps and inject, as for `ksmactors.stress`.

    Raises:
        Finding: a watcher reports. A note has the command that replays the schedule.
        KsmActorsError: the workload raised, or ran out of steps.
        UsageError: something that was asked for does not exist.
    """
    choice = ScheduleChoice(schedule) if isinstance(schedule, int) else schedule
    subject = load_subject(workload, SubjectOptions.of(**options))
    check_strategy(choice.strategy)
    outcome = anyio.run(partial(run_schedule, subject, choice.seed, choice.strategy), backend="trio")
    if outcome.verdict is not Verdict.OK:
        assert outcome.error is not None, "a schedule that is not well has an error"
        note = _how_to_replay(outcome, out)
        if note not in getattr(outcome.error, "__notes__", []):
            outcome.error.add_note(note)
        raise outcome.error
    return outcome


def _how_to_replay(outcome: Outcome, out: Path | None) -> str:
    if out is not None:
        return f"replay: {replay_command(outcome.schedule, save(outcome, prepare(out), again=True))}"
    if len(outcome.schedule) <= SCHEDULE_MAX:
        return f"replay: {replay_command(outcome.schedule)}"
    return "with out=DIR, this writes a finding file that `ksmactors replay` takes"


def check_scenario(
    scenario: Scenario,
    schedule: ScheduleChoice | int = 0,
    *,
    out: Path | None = None,
    **options: Unpack[GivenOptions],
) -> Outcome:
    """Run the processes of a scenario concurrently, as the workload `scenario` does, and raise what went wrong.

    Arguments and errors are those of `check`; a note has the scenario, too.
    """
    with TemporaryDirectory(prefix="ksmactors-") as directory:
        file = (out or Path(directory)) / "scenario.txt"
        if out is not None:
            prepare(out)
        file.write_text(scenario_text(scenario), "utf-8")
        options["params"] = {**(options.get("params") or {}), "file": file}
        return check("scenario", schedule, out=out, **options)


def perform_scenario(
    scenario: Scenario,
    *,
    kernel: str = "series",
    nodes: int = 2,
    without: Sequence[str] = (),
    with_: Sequence[str] = (),
    watch: str | Sequence[str] = "all",
) -> tuple[str, ...]:
    """Run a scenario line by line, as `ksmactors conform` does, and raise what watchers report.

    Returns:
        Its results, in the recorded form.

    Raises:
        Finding: a watcher reports; or StepLimit: it does not end.
        UsageError: something that was asked for does not exist.
    """
    options = SubjectOptions.of(kernel=kernel, nodes=nodes, without=without, with_=with_, watch=watch)
    setting = Setting(
        kernel=options.kernel, nodes=options.nodes, without=options.without, with_=options.with_,
        watchers=watchers_of(options.watch),
    )  # fmt: skip
    transcript = anyio.run(partial(perform, scenario, setting), backend="trio")
    if transcript.failure is not None:
        transcript.failure.add_note(scenario_text(scenario))
        raise transcript.failure
    return transcript.lines


def scenario_text(scenario: Scenario) -> str:
    """The text of a scenario, as its file has it."""
    return "".join(f"{line.text}\n" for line in scenario.lines)
