"""The worker processes of a campaign, seen from their parent.

A worker that dies costs its piece, which another one gets. If that dies too, the seeds of the piece are run one by
one, and the one that kills its worker twice is a finding.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from ksmactors.aside import stdout
from ksmactors.campaign.blocks import DIGEST, SHAPE, Arm, Piece
from ksmactors.campaign.dealing import InTurn
from ksmactors.campaign.executors import SECONDS_BETWEEN, Executor, LocalProcesses, WorkerLost
from ksmactors.campaign.log_parts import directory_for_parts
from ksmactors.campaign.stress import Plan
from ksmactors.campaign.worker_processes import WorkerProcesses
from ksmactors.campaign.workers import BlockAnswer, BlockTask, SharedWork
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.events.logs import Log, LogWriter
from ksmactors.run.outcome import Defect, Outcome, Verdict
from ksmactors.run.trust import files_of_strategy

ATTEMPTS: Final = 2
"""Workers that may die of a piece before its seeds are run one by one, and of a seed before it is a finding."""

WINDOW: Final = 8
"""Pieces for each worker that may be ahead of the first that is not added up."""

WORKER_DIED: Final = "worker_died"
"""The kind of finding that a schedule is which ends its process."""

Take = Callable[[], Awaitable[Piece | None]]
Known = Callable[[], tuple[frozenset[str], bool]]


def workers_of(
    plan: Plan,
    jobs: int,
    *,
    stop_at_first: bool = False,
    deadline: float | None = None,
    log: str | None = None,
    log_config: str | None = None,
    executor: Executor | None = None,
    processes: WorkerProcesses | None = None,
) -> WorkerPool | None:
    """Return the worker processes for a campaign; None if it must stay in this process, or is to.

    Args:
        plan: the campaign.
        jobs: how many; with 1, this process does it.
        executor: what runs the blocks instead of processes of this machine.
        stop_at_first, deadline: as for a Campaign.
        log, log_config: as the command line has them; `plan.log` is the opened log.
        processes: where workers come from; the caller closes them. None: they are made here.
    """
    if jobs < 2 and executor is None:
        return None
    if any(files_of_strategy(plan.strategy)):  # several processes would write into one file
        return None
    shared = shared_work_of(plan, stop_at_first=stop_at_first, deadline=deadline, log=log, log_config=log_config)
    beside = Path(log).absolute() if log not in (None, "-") else None
    own = ExitStack()
    if executor is None:
        executor = LocalProcesses(jobs, processes or own.enter_context(closing(WorkerProcesses())))
    return WorkerPool(executor, shared, plan.log is not None, beside, own)


def shared_work_of(
    plan: Plan,
    *,
    stop_at_first: bool = False,
    deadline: float | None = None,
    log: str | None = None,
    log_config: str | None = None,
) -> SharedWork:
    """Return what all blocks of a campaign have in common; the arguments are as for `workers_of`."""
    return SharedWork(
        tuple(subject.header() for subject in plan.subjects),
        tuple(subject.sources for subject in plan.subjects),
        plan.strategy, plan.detail, stop_at_first, deadline, log_config, log == "-" and stdout().isatty(),
        measured=plan.measured, thorough=plan.thorough,
    )  # fmt: skip


@dataclass(slots=True)
class WorkerPool:
    """Processes that run pieces of a campaign.

    Args:
        executor: what runs them.
        shared: what all pieces have in common.
        logged: whether there is a log.
        log_beside: the log, beside which workers write theirs; None for a temporary directory.
    """

    executor: Executor
    shared: SharedWork
    logged: bool = False
    log_beside: Path | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _under_way: dict[int, tuple[Piece, BlockAnswer]] = field(default_factory=dict)
    _parts: Path | None = None
    _window: trio.Semaphore = field(init=False)
    _send: trio.MemorySendChannel[tuple[Piece | None, BlockAnswer | None]] = field(init=False)
    _receive: trio.MemoryReceiveChannel[tuple[Piece | None, BlockAnswer | None]] = field(init=False)

    def start(self, nursery: trio.Nursery, take: Take, known: Known) -> None:
        """Start the processes.

        Args:
            nursery: it ends them when it is cancelled.
            take: returns the next piece, or None, once it is known what its seeds are run with.
            known: returns the signatures of what was found before the first piece that is not added up.
        """
        self._window = trio.Semaphore(0)
        self._send, self._receive = trio.open_memory_channel(math.inf)
        if self.logged:
            beside = self.log_beside.parent if self.log_beside is not None else None
            self._parts = self._stack.enter_context(directory_for_parts(beside))
        nursery.start_soon(self._staff, nursery, take, known)

    def close(self) -> None:
        """Remove what workers have left."""
        self._stack.close()

    async def receive(self) -> tuple[Piece | None, BlockAnswer | None]:
        """Wait for a piece that is done, and what came of it; None: it is in the store. Without a piece, a worker has
        found that there are no more."""
        return await self._receive.receive()

    def waiting(self) -> Iterator[tuple[Piece | None, BlockAnswer | None]]:
        """What is done and has not been received, and what workers had handed in of pieces when they were ended."""
        with suppress(trio.WouldBlock):
            while True:
                yield self._receive.receive_nowait()
        yield from self._under_way.values()

    def merged(self) -> None:
        """A piece was added up."""
        self._window.release()

    def print_and_log(self, answer: BlockAnswer, log: Log | None) -> None:
        """Print what workloads have printed, and write what was logged."""
        sys.stdout.write(answer.printed)
        sys.stderr.write(answer.complained)
        for part, size in answer.logs.items():
            if isinstance(log, LogWriter):
                with suppress(FileNotFoundError):
                    log.copy(part, size)
            part.unlink(missing_ok=True)
        if isinstance(log, LogWriter):
            log.failed(answer.log_problem)

    @trio.lowlevel.enable_ki_protection
    async def _staff(self, nursery: trio.Nursery, take: Take, known: Known) -> None:
        """Start a task for each block that the executor runs at the same time; more if it grows."""
        working = 0
        while True:
            for _ in range(working, await self.executor.slots()):
                working += 1
                for _ in range(WINDOW):
                    self._window.release()
                nursery.start_soon(self._work, take, known)
            if not self.executor.grows:
                return
            await trio.sleep(SECONDS_BETWEEN)

    @trio.lowlevel.enable_ki_protection
    async def _work(self, take: Take, known: Known) -> None:
        while True:
            await self._window.acquire()
            piece = await take()
            if piece is None:
                await self._send.send((None, None))
                return
            if piece.stored:
                self._send.send_nowait((piece, None))
                continue
            answer = BlockAnswer()
            self._under_way[piece.number] = piece, answer
            await self._run(piece, known, answer)
            self._send.send_nowait(self._under_way.pop(piece.number))

    async def _run(self, piece: Piece, known: Known, answer: BlockAnswer) -> None:
        """Have a piece run. The answer grows by what is certain: also by what a worker that is ended has handed in."""
        if await self._ask(piece.seeds, piece.index, known, piece.arms, answer):
            return
        for index, seed in enumerate(piece.seeds, piece.index):
            alone, arms = range(seed, seed + 1), piece.arms[index - piece.index :][:1]
            if not await self._ask(alone, index, known, arms, answer):
                answer.add(self._died(seed, arms))
            if answer.failure is not None or answer.interrupted or not self._goes_on(answer):
                break

    def _goes_on(self, answer: BlockAnswer) -> bool:
        """Whether the seed after the last outcome should be run."""
        verdict = answer.outcomes[-1].verdict if answer.outcomes else Verdict.INCONCLUSIVE
        if self.shared.stop_at_first and verdict is Verdict.FINDING:
            return False
        return bool(answer.outcomes) and verdict not in (Verdict.CRASHED, Verdict.BROKEN)

    async def _ask(self, seeds: range, index: int, known: Known, arms: tuple[Arm, ...], answer: BlockAnswer) -> bool:
        """Have some seeds run; returns whether they were, or each process died that was given them."""
        lost = 0
        while lost < ATTEMPTS:
            log = self._parts / str(index) if self._parts is not None else None
            part = BlockAnswer()
            try:
                await self.executor.run(BlockTask(self.shared, seeds, index, *known(), log, arms), part.add)
            except WorkerLost as error:
                lost += error.times
                continue
            except trio.Cancelled:
                answer.add(part)
                raise
            answer.add(part)
            return True
        return False

    def _died(self, seed: int, arms: tuple[Arm, ...]) -> BlockAnswer:
        """A finding instead of an outcome: the schedule of a seed ends its process."""
        (workload, strategy), *_ = arms or (InTurn(len(self.shared.headers), self.shared.strategy).of(seed),)
        name = self.shared.headers[workload]["workload"]
        defect = Defect(
            WORKER_DIED, "run", f"run/{WORKER_DIED}@{name}",
            f"the process that ran this schedule died {ATTEMPTS} times: out of memory, or a signal", 0,
            (), (), (),
        )  # fmt: skip
        nothing = (0,) * len(CATALOGUE)
        digest = hashlib.blake2b(WORKER_DIED.encode(), digest_size=DIGEST).digest()
        outcome = Outcome(name, seed, strategy, Verdict.FINDING, 0, 0, nothing, digest, bytes(SHAPE), defect=defect)
        return BlockAnswer([outcome], [0])
