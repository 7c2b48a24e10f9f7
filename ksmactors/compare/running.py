"""Two campaigns over the same seeds: without the idea, and with it.

They take turns, in rounds of growing length: whenever an interruption comes, most of what was run is in pairs. A
schedule is a function of its seed, so the rounds change nothing about the results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Final

import trio

from ksmactors import plugins
from ksmactors.campaign.blocks import Block
from ksmactors.campaign.driving import Drive
from ksmactors.campaign.stress import Plan
from ksmactors.campaign.summary import Found, Summary
from ksmactors.campaign.worker_pool import workers_of
from ksmactors.campaign.worker_processes import WorkerProcesses
from ksmactors.errors import UsageError
from ksmactors.kernels import KERNELS, kernel_class
from ksmactors.run.options import SubjectOptions
from ksmactors.run.outcome import Outcome
from ksmactors.run.subject import Subject, deal_params, load_subject

FIRST_ROUND: Final = 5
"""Seeds of the first round."""


@dataclass(slots=True)
class CampaignSide:
    """One of the two campaigns: it keeps the outcomes of its schedules where others have a store.

    Attributes:
        subjects: what is run, one for each workload.
        tally: the sums so far.
        outcomes: by seed; without what a comparison does not need.
    """

    subjects: Sequence[Subject]
    tally: Summary = field(default_factory=Summary)
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    def stored(self) -> dict[int, int]:
        return {}

    def read(self, first: int) -> tuple[Block, dict[int, tuple[str, Found | None]]]:
        raise LookupError(first)

    def write(self, block: Block, outcomes: list[Outcome]) -> None:
        """Keep outcomes."""
        for outcome in outcomes:
            self._keep(outcome)

    def crashed(self, outcome: Outcome) -> None:
        """Keep the outcome of a schedule in which code raised."""
        self._keep(outcome)

    def _keep(self, outcome: Outcome) -> None:
        self.outcomes[outcome.seed] = replace(outcome, schedule="", lock_edges=(), sources=(), defect=None, error=None)


def sides_of(names: Sequence[str], options: SubjectOptions) -> tuple[CampaignSide, CampaignSide]:
    """Return the two campaigns: on the kernel as it is, and with what `options` adds and leaves out.

    Raises:
        UsageError: something does not exist, or the two kernels are the same.
    """
    if not (options.with_ or options.without):
        raise UsageError("compare: say what to compare with the kernel as it is: --with IDEA, or --without NAME")
    plain = replace(options, with_=(), without=())
    params = deal_params(names, options.params)

    def side(given: SubjectOptions) -> CampaignSide:
        return CampaignSide(
            [load_subject(name, replace(given, params=own)) for name, own in zip(names, params, strict=True)]
        )

    without, idea = side(plain), side(options)
    _refuse_equal(idea.subjects[0])
    return without, idea


def _refuse_equal(idea: Subject) -> None:
    """Refuse an idea that makes no other kernel.

    Raises:
        UsageError: the message says what the kernel has already.
    """
    for name in idea.with_:
        if name in idea.without:
            raise UsageError(f"compare: --with {name} and --without {name} cancel each other; give one of them")
        if _same(idea.kernel, idea.without, name):
            lacking = [kernel for kernel in KERNELS if not _same(kernel, (), name)]
            other = f", or compare on a kernel that lacks it: --kernel {', '.join(lacking)}" if lacking else ""
            raise UsageError(
                f"compare: kernel {idea.kernel} has {plugins.from_here(name)} already, so both sides would be the "
                f"same; see what it does with --without {plugins.from_here(name)}{other}"
            )


_SKIPPED: Final = (
    "visit_stable_entry", "visit_unstable_entry", "get_ksm_page", "get_page_if_of_node", "page_has_moved",
    "get_mergeable_page",
)  # fmt: skip
"""Kernel functions that a search does not call where its index says the same."""


def unseen_functions(idea: Subject) -> list[str]:
    """Return the functions that an idea overrides, and that searches do not call where they take their index."""
    plain = kernel_class(kernel=idea.kernel)
    changed = kernel_class(kernel=idea.kernel, without=idea.without, with_=idea.with_)
    return [name for name in _SKIPPED if getattr(changed, name) is not getattr(plain, name)]


def _same(kernel: str, without: Sequence[str], name: str) -> bool:
    """Whether adding a variant to a kernel makes no other one."""
    try:
        return kernel_class(kernel=kernel, without=without, with_=(name,)) is kernel_class(
            kernel=kernel, without=without
        )
    except UsageError:  # it does not fit
        return True


def rounds(seeds: range) -> Iterator[range]:
    """Cut the seeds into rounds, each twice as long as the one before."""
    start, length = seeds.start, FIRST_ROUND
    while start < seeds.stop:
        yield range(start, min(start + length, seeds.stop))
        start, length = start + length, 2 * length


@dataclass(slots=True)
class PairedRun:
    """The two campaigns under way.

    Args:
        sides: without the idea, and with it.
        seeds, strategy: of both.
        out: where finding files go.
        every_step: whether searches take each step also where no other actor can run.
        jobs: processes; no result depends on it.
        deadline: of `time.monotonic`; no schedule is started after it.
        processes: where workers come from, if there is more than one job; the caller closes them.

    Attributes:
        on_found: called with a side and a defect that it has found for the first time.
        on_schedule: called after schedules.
        interrupted: whether an interruption ended it.
    """

    sides: tuple[CampaignSide, CampaignSide]
    seeds: range
    strategy: str
    out: Path | None = None
    every_step: bool = False
    jobs: int = 1
    deadline: float | None = None
    processes: WorkerProcesses | None = None
    on_found: Callable[[CampaignSide, Found], None] = lambda *_: None
    on_schedule: Callable[[], None] = lambda: None
    interrupted: bool = False

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Run what is asked for, until an interruption, the deadline, or a crash."""
        for seeds in rounds(self.seeds):
            for side in self.sides:
                if not await self._run(side, seeds):
                    return
            if self.deadline is not None and monotonic() >= self.deadline:
                return

    async def _run(self, side: CampaignSide, seeds: range) -> bool:
        """Run some seeds of one side; whether to go on."""
        plan = Plan(side.subjects, seeds, self.strategy, self.out, measured=True, thorough=self.every_step)
        workers = workers_of(plan, self.jobs, deadline=self.deadline, processes=self.processes)
        drive = Drive(plan, side, workers=workers, deadline=self.deadline)
        drive.campaign.tally = side.tally
        drive.campaign.on_found = lambda found: self.on_found(side, found)
        drive.campaign.on_schedule = lambda _: self.on_schedule()
        await drive.run()
        self.interrupted = drive.interrupted
        return not (self.interrupted or side.tally.crash is not None)
