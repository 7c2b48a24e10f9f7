"""Many schedules of one or more workloads in one `trio.run`, one after the other.

The seeds are dealt to the workloads in turn: seed s runs workload number s mod W. So `--seeds 2000` is 2000
schedules whatever the number of workloads, and a schedule depends on nothing that ran before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, perf_counter

import trio

from ksmactors.campaign.dealing import Deal, InTurn
from ksmactors.campaign.findings import kept, replay_command, without_schedule
from ksmactors.campaign.lock_cycles import cycles_closed_by
from ksmactors.campaign.summary import Found, Summary
from ksmactors.errors import UsageError
from ksmactors.escaping import quoted
from ksmactors.events.logs import Log
from ksmactors.interleave.schedule_string import Schedule
from ksmactors.interleave.search.registry import SEARCHES
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.interleave.task_pool import TaskPool, open_task_pool
from ksmactors.run.calibration import Calibration
from ksmactors.run.extensions import check_strategy
from ksmactors.run.header import SEED_LIMIT
from ksmactors.run.meter import Meter
from ksmactors.run.outcome import Outcome
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign is to do. `out` is where finding files go; None writes none. `replayed` is a schedule that
    is followed instead of drawn, for the one seed that it was recorded with; then `file_of` returns the finding file of
    an outcome. `keep`: outcomes have their schedule string even if nothing went wrong. `detail`: the log gets events of
    detail too. `deal` says what a seed is run with;
    by default the seeds are dealt to the workloads in turn. `measured`: outcomes have figures. `thorough`: searches
    take each step also where no other actor can run.

    Raises:
        UsageError: there is no such strategy.
    """

    subjects: Sequence[Subject]
    seeds: range
    strategy: str
    out: Path | None = None
    log: Log | None = None
    replayed: Schedule | None = None
    keep: bool = False
    detail: bool = False
    deal: Deal | None = None
    measured: bool = False
    thorough: bool = False
    file_of: Callable[[Outcome], Path | None] = lambda _: None
    _in_turn: InTurn = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_in_turn", InTurn(len(self.subjects), self.strategy))
        if self.replayed is None and self.strategy not in SEARCHES:
            check_strategy(self.strategy)

    def subject_of(self, seed: int) -> Subject:
        """The workload that a seed is dealt to."""
        return self.subjects[(self.deal or self._in_turn).of(seed).workload]

    def strategy_of(self, seed: int) -> str:
        """The strategy of a seed, as text."""
        return (self.deal or self._in_turn).of(seed).strategy


@dataclass(slots=True)
class Campaign:
    """A campaign under way: what it adds up to, its last schedule, and how far it got if it was interrupted.

    `on_found` is called when a defect is found for the first time, `on_schedule` after every schedule, `on_outcome`
    with each outcome that is run here and the seconds it took, `on_taken` with each that is added up. With
    `stop_at_first` the campaign ends with the schedule that found the first, and at `deadline` (of `time.monotonic`)
    with the one under way; `stopped_at` is the seed after it, if any is left. `interrupted_at` is the first seed that
    an interruption left undone. `first` is the number of its first schedule in the log. `resumed`: finding files of an
    earlier run may be there, and are not written twice.
    """

    plan: Plan
    tally: Summary = field(default_factory=Summary)
    on_found: Callable[[Found], None] = lambda _: None
    on_schedule: Callable[[Summary], None] = lambda _: None
    on_outcome: Callable[[Outcome, float], None] = lambda *_: None
    on_taken: Callable[[Outcome], None] = lambda _: None
    calibration: Calibration = field(default_factory=lambda: Calibration(run_schedule))
    last: Outcome | None = None
    interrupted_at: int | None = None
    stop_at_first: bool = False
    stopped_at: int | None = None
    deadline: float | None = None
    first: int = 0
    resumed: bool = False
    _interrupted: bool = False

    @property
    def seeds_left(self) -> str:
        """The seeds that were left undone, as `A:B`; empty if none was."""
        undone = self.stopped_at if self.interrupted_at is None else self.interrupted_at
        return "" if undone is None or undone >= self.plan.seeds.stop else f"{undone}:{self.plan.seeds.stop}"

    @property
    def resume_hint(self) -> str:
        """The `--seeds` that does what was left undone; empty if nothing was."""
        return f"--seeds {self.seeds_left}" if self.seeds_left else ""

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Run the schedules. Ctrl-C ends the one under way, never the writing of what it found.

        A crashed workload ends the campaign.
        """
        with suppress(KeyboardInterrupt):  # after the last schedule: there is nothing left to interrupt
            async with open_task_pool() as task_pool:
                await self._run_all(task_pool)

    async def _run_all(self, task_pool: TaskPool) -> None:
        await self.run_seeds(task_pool, self.plan.seeds, self.first)

    async def run_seeds(self, task_pool: TaskPool, seeds: range, index: int) -> bool:
        """Run the schedules of some seeds, the first of which has the number `index` in the campaign's log. Returns
        whether all were run and the campaign may go on."""
        for number, seed in enumerate(seeds, index):
            if self.deadline is not None and monotonic() >= self.deadline:
                self.stopped_at = seed
                return False
            started = perf_counter()
            outcome = await self._run_one(task_pool, number, seed)
            seconds = perf_counter() - started
            if outcome is None:
                self.interrupted_at = seed
                return False
            self.on_outcome(await self.keep_outcome(outcome), seconds)
            if self.ended:
                return False
            if self._interrupted:
                self.interrupted_at = seed + 1
                return False
        return True

    @property
    def ended(self) -> bool:
        """Whether its last schedule is the end of it: code raised, or something was found and that was enough."""
        if self.tally.crash is not None:
            return True
        if not (self.stop_at_first and self.tally.found and self.last is not None):
            return False
        after = self.last.seed + 1
        self.stopped_at = after if after < self.plan.seeds.stop else None
        return True

    async def _run_one(self, task_pool: TaskPool, index: int, seed: int) -> Outcome | None:
        """One schedule; None if it was interrupted."""
        plan = self.plan
        outcome = None
        meter = Meter() if plan.measured else None
        try:
            subject, strategy = plan.subject_of(seed), plan.strategy_of(seed)
            outcome = await run_schedule(
                subject, seed, strategy, deciding=await self._deciding(subject, seed, strategy), log=plan.log,
                index=index, keep=plan.keep, task_pool=task_pool, known=self.tally.found, detail=plan.detail,
                on_machine=meter.attach if meter is not None else None, keep_machine=meter is not None,
            )  # fmt: skip
        except* KeyboardInterrupt:
            pass
        if outcome is None or meter is None:
            return outcome
        return replace(outcome, measured=meter.measured())

    async def _deciding(self, subject: Subject, seed: int, strategy: str) -> Strategy:
        """The strategy of a schedule, ready to decide it."""
        if self.plan.replayed is not None:
            return Replay(self.plan.replayed)
        deciding = await self.calibration.strategy(subject, seed, strategy)
        deciding.thorough = deciding.thorough or self.plan.thorough
        return deciding

    async def keep_outcome(self, outcome: Outcome) -> Outcome:
        """Add a schedule to the sums, and return it; what it found for the first time is explained."""
        if outcome.defect is not None and self.tally.known(outcome) is None:
            outcome = await self._explained(outcome)
        self.take(outcome)
        return outcome

    def take(self, outcome: Outcome) -> None:
        """Add a schedule to the sums; what it found for the first time goes to a file."""
        tally, self.last = self.tally, outcome
        tally.add(outcome)
        if outcome.defect is not None and tally.known(outcome) is None:
            self.keep(self.found(outcome, again=self.resumed))
        self.close_cycles(outcome)
        self.on_taken(outcome)
        self.on_schedule(tally)

    def keep(self, found: Found, *, at: int | None = None) -> None:
        """Keep what was found for the first time: by the last schedule, or by the one with the number `at`, from 1."""
        self.tally.keep(found, at=at)
        if self.tally.crash is None:  # a crash is told at the end, with its traceback
            self.on_found(found)

    def close_cycles(self, outcome: Outcome, *, at: int | None = None) -> None:
        """Keep the lock cycles that a schedule closes; `at` is as for `keep`."""
        for cycle in cycles_closed_by(outcome, self.tally):
            self.keep(cycle, at=at)

    async def _explained(self, outcome: Outcome) -> Outcome:
        """What was found with who met whom over what; as it was if that is interrupted."""
        explained = outcome
        try:
            from ksmactors.diagnose.explain import explain  # which most campaigns go without

            explained = await explain(outcome, self.plan.subject_of(outcome.seed))
        except* KeyboardInterrupt:
            self._interrupted = True
        return explained

    def found(self, outcome: Outcome, *, again: bool = False) -> Found:
        """A defect that is new, written to a file at once if there is a place for it. `again`: the file may be there
        already."""
        plan = self.plan
        if plan.replayed is not None:
            return Found(outcome, plan.file_of(outcome))
        if not outcome.schedule:
            return Found(outcome, problem=without_schedule(outcome))
        if plan.out is not None:
            return kept(outcome, plan.out, again=again)
        return Found(outcome, replay=replay_command(outcome.schedule))


def parse_seeds(text: str) -> range:
    """`N` is 0..N-1, `A:B` is A..B-1."""
    match = re.fullmatch(r"(?:(\d{1,99}):)?(\d{1,99})", text, re.ASCII)
    if match is None:
        raise UsageError(f"--seeds must be N or A:B (seeds 0 to N-1, or A to B-1), not {quoted(text)}")
    seeds = range(int(match[1] or 0), int(match[2]))
    if seeds.stop > SEED_LIMIT:
        raise UsageError(f"--seeds {text}: a seed must be below 2**63")
    if seeds.stop - seeds.start >= SEED_LIMIT:
        raise UsageError(f"--seeds {text}: these are 2**63 seeds; a campaign has fewer")
    if not seeds:
        raise UsageError(f"--seeds {text}: there is no seed in that range; the end must be above the start")
    return seeds
