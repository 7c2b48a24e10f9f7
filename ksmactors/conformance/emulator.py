"""Run scenarios on the emulator: a fresh machine for each, many of them in one trio run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ksmactors.conformance.around import AroundDriver
from ksmactors.conformance.emulator_driver import EmulatorDriver
from ksmactors.conformance.ksmd_stepper import MAX_STEPS, RunUntilBlocked
from ksmactors.conformance.language import Scenario
from ksmactors.conformance.transcript import Transcript
from ksmactors.errors import Finding, StepLimit, WorkloadCrashed
from ksmactors.escaping import quoted
from ksmactors.events.trace import Trace
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.durations import NS_PER_MS
from ksmactors.interleave.locks import Mutex
from ksmactors.interleave.strategies.holding import Holding
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.machine import Machine
from ksmactors.program import crash_of_variant, crash_under_variant
from ksmactors.watch import attach, classified

AROUND_MAX_STEPS: Final = 5_000_000
"""Steps after which a schedule around a scenario is given up: it may spin."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The machine of a scenario: kernel, NUMA nodes, variants removed and added.

    With `walking`, trees are searched entry by entry, as when another actor could disturb a search, instead of by their
    index. No result may depend on it, nor on the `watchers`.
    """

    kernel: str = "series"
    nodes: int = 2
    without: tuple[str, ...] = ()
    with_: tuple[str, ...] = ()
    walking: bool = False
    watchers: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The text after `# kernel` in results."""
        variants = [f" --without {name}" for name in self.without] + [f" --with {name}" for name in self.with_]
        return f"ksmactors {self.kernel}{''.join(variants)}{' (walking)' * self.walking}"


@dataclass(frozen=True, slots=True)
class Around:
    """The source of all choices that the holds of a scenario leave open: a strategy's text, and a seed; and what does
    the operations meanwhile.
    """

    strategy: str
    seed: int
    driver: type[AroundDriver] = AroundDriver


async def perform(scenario: Scenario, setting: Setting, around: Around | None = None) -> Transcript:
    """Run a scenario on a fresh machine. To be awaited in trio, outside of any other schedule.

    With `around` its results mean nothing, since they depend on what is drawn; how it ends does.

    Raises:
        ScenarioError: an operation asks for a node that the machine does not have.
        UsageError: the setting names no kernel or variant.
    """
    seed = 0 if around is None else around.seed
    tape, strategy = Tape(seed), Holding(RunUntilBlocked() if around is None else parse(around.strategy))
    strategy.begin(strategy_rng(seed))
    conductor = Conductor(strategy, tape, max_steps=MAX_STEPS if around is None else AROUND_MAX_STEPS)
    driver: EmulatorDriver | None = None

    async def run() -> None:
        """What the first actor does: what a machine does when it comes up is done by an actor, too."""
        nonlocal driver
        machine = Machine(
            conductor, Trace(conductor), nodes=setting.nodes, kernel=setting.kernel,
            without=setting.without, with_=setting.with_, synchronous_swap=True,
        )  # fmt: skip
        attach(machine, setting.watchers)
        driver = (EmulatorDriver if around is None else around.driver)(scenario, machine, setting.label, strategy)
        if setting.walking:
            conductor.spawn("bystander", _stand_by(conductor), daemon=True)
            await conductor.sleep(NS_PER_MS)
        await driver.run()

    try:
        await conductor.run("scenario", run)
    except (Finding, StepLimit) as failure:
        _refuse_waiting(driver, failure)
        return Transcript(scenario, () if driver is None else tuple(driver.lines), failure=failure)
    except Exception as raised:
        lines = driver.lines if driver is not None else []
        where = f"in scenario {scenario.origin}, after {quoted(lines[-1])}" if lines else f"in {scenario.origin}"
        kernel = type(driver.machine.kernel) if driver is not None else None
        if (crash := crash_of_variant(raised) or crash_under_variant(kernel, raised)) is not None:
            raise WorkloadCrashed(f"{crash}, {where}") from raised
        error = classified(driver.machine if driver is not None else None, raised)
        error.add_note(where)
        raise error from error.__cause__
    assert driver is not None, "the schedule has ended"
    return Transcript(scenario, tuple(driver.lines), missing=driver.missing)


def _refuse_waiting(driver: EmulatorDriver | None, failure: Finding | StepLimit) -> None:
    """Refuse an operation in the foreground that waits for a held task: it would wait for ever."""
    if not isinstance(failure, Finding) or failure.watcher != "deadlock" or driver is None:
        return
    if driver.tasks.holding.held:
        text = f"it needs what a held task has ({failure.message}); start it with: bg {driver.current.text}"
        raise driver.refused(driver.current, text) from failure


async def _stand_by(conductor: Conductor) -> None:
    """Hold an unused lock for ever, so that a second actor exists and trees are searched entry by entry."""
    await Mutex(conductor, "the bystander's").lock()
    await conductor.block("the end of the scenario")
