"""The worker processes of a campaign, seen from their parent.

A worker that dies costs its piece, which another one gets. If that dies too, the seeds of the piece are run one by
one, and the one that kills its worker twice is a finding.
"""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio
from anyio import BrokenWorkerProcess, CapacityLimiter
from anyio.to_process import run_sync

from ksmactors.campaign.blocks import DIGEST, SHAPE, Piece
from ksmactors.campaign.stress import Plan
from ksmactors.campaign.workers import BlockAnswer, BlockTask, SharedWork, answered
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.events.logs import Log, LogWriter
from ksmactors.interleave.strategies.registry import dealt
from ksmactors.run.outcome import Defect, Outcome, Verdict
from ksmactors.run.trust import files_of_strategy

ATTEMPTS: Final = 2
"""Workers that may die of a piece before its seeds are run one by one, and of a seed before it is a finding."""

WINDOW: Final = 8
"""Pieces for each worker that may be ahead of the first that is not added up."""

WORKER_DIED: Final = "worker_died"
"""The kind of finding that a schedule is which ends its process."""

JOBS_MAX: Final = 1024
"""Processes of a campaign."""

Take = Callable[[], Piece | None]
Known = Callable[[], tuple[frozenset[str], bool]]


def available_cores() -> int:
    """The cores that this process may use."""
    return min(len(os.sched_getaffinity(0)), JOBS_MAX)


def workers_of(
    plan: Plan,
    jobs: int,
    *,
    stop_at_first: bool = False,
    deadline: float | None = None,
    log: str | None = None,
    log_config: str | None = None,
) -> WorkerPool | None:
    """Return the worker processes for a campaign; None if it must stay in this process, or is to.

    Args:
        plan: the campaign.
        jobs: how many; with 1, this process does it.
        stop_at_first, deadline: as for a Campaign.
        log, log_config: as the command line has them; `plan.log` is the opened log.
    """
    if jobs < 2 or any(files_of_strategy(plan.strategy)):  # several processes would write into one file
        return None
    shared = SharedWork(
        tuple(subject.header() for subject in plan.subjects),
        tuple(subject.sources for subject in plan.subjects),
        plan.strategy, plan.detail, stop_at_first, deadline, log_config, log == "-" and sys.stdout.isatty(),
        plan.measured, plan.thorough,
    )  # fmt: skip
    beside = Path(log).absolute() if log not in (None, "-") else None
    return WorkerPool(jobs, shared, plan.log is not None, beside)


@dataclass(slots=True)
class WorkerPool:
    """Processes that run pieces of a campaign.

    Args:
        jobs: how many.
        shared: what all pieces have in common.
        log_beside: the log, beside which workers write theirs; None for a temporary directory.
        logged: whether there is a log.
    """

    jobs: int
    shared: SharedWork
    logged: bool = False
    log_beside: Path | None = None
    started: bool = False
    _parts: Path | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _window: trio.Semaphore = field(init=False)
    _limiter: CapacityLimiter = field(init=False)
    _send: trio.MemorySendChannel[tuple[Piece | None, BlockAnswer | None]] = field(init=False)
    _receive: trio.MemoryReceiveChannel[tuple[Piece | None, BlockAnswer | None]] = field(init=False)

    def start(self, nursery: trio.Nursery, take: Take, known: Known) -> None:
        """Start the processes.

        Args:
            nursery: it ends them when it is cancelled.
            take: returns the next piece, or None.
            known: returns the signatures of what was found before the first piece that is not added up.
        """
        self.started = True
        self._window = trio.Semaphore(self.jobs * WINDOW)
        self._limiter = CapacityLimiter(self.jobs)
        self._send, self._receive = trio.open_memory_channel(math.inf)
        if self.logged:
            beside = self.log_beside.parent if self.log_beside is not None else None
            directory = tempfile.TemporaryDirectory(prefix=".ksmactors-log-", dir=beside, ignore_cleanup_errors=True)
            self._parts = Path(self._stack.enter_context(directory))
        for _ in range(self.jobs):
            nursery.start_soon(self._work, take, known)

    def close(self) -> None:
        """Remove what workers have left."""
        self._stack.close()

    async def receive(self) -> tuple[Piece | None, BlockAnswer | None]:
        """Wait for a piece that is done, and what came of it; None: it is in the store. Without a piece, a worker has
        found that there are no more."""
        return await self._receive.receive()

    def waiting(self) -> Iterator[tuple[Piece | None, BlockAnswer | None]]:
        """What is done and has not been received."""
        with suppress(trio.WouldBlock):
            while True:
                yield self._receive.receive_nowait()

    def merged(self) -> None:
        """A piece was added up."""
        self._window.release()

    def print_and_log(self, answer: BlockAnswer, log: Log | None) -> None:
        """Print what workloads have printed, and write what was logged."""
        sys.stdout.write(answer.printed)
        sys.stderr.write(answer.complained)
        for part in answer.logs:
            if isinstance(log, LogWriter):
                with suppress(FileNotFoundError):
                    log.copy(part)
            part.unlink(missing_ok=True)
        if isinstance(log, LogWriter):
            log.failed(answer.log_status)

    @trio.lowlevel.enable_ki_protection
    async def _work(self, take: Take, known: Known) -> None:
        with trio.CancelScope(shield=True), suppress(BrokenWorkerProcess):  # anyio forgets a process that is starting
            await run_sync(os.getpid, limiter=self._limiter)
        while True:
            await self._window.acquire()
            piece = take()
            if piece is None:
                await self._send.send((None, None))
                return
            await self._send.send((piece, None if piece.stored else await self._run(piece, known)))

    async def _run(self, piece: Piece, known: Known) -> BlockAnswer:
        answer = await self._ask(piece.seeds, piece.index, known)
        if answer is not None:
            return answer
        answer = BlockAnswer()
        for index, seed in enumerate(piece.seeds, piece.index):
            alone = range(seed, seed + 1)
            answer.add(await self._ask(alone, index, known) or self._died(seed))
            if answer.failure is not None or answer.interrupted or not self._goes_on(answer):
                break
        return answer

    def _goes_on(self, answer: BlockAnswer) -> bool:
        """Whether the seed after the last outcome should be run."""
        verdict = answer.outcomes[-1].verdict if answer.outcomes else Verdict.INCONCLUSIVE
        if self.shared.stop_at_first and verdict is Verdict.FINDING:
            return False
        return bool(answer.outcomes) and verdict not in (Verdict.CRASHED, Verdict.BROKEN)

    async def _ask(self, seeds: range, index: int, known: Known) -> BlockAnswer | None:
        """What came of some seeds; None if each process died that was given them."""
        for _ in range(ATTEMPTS):
            log = self._parts / str(index) if self._parts is not None else None
            task = pickle.dumps(BlockTask(self.shared, seeds, index, *known(), log))
            with suppress(BrokenWorkerProcess):
                answer: BlockAnswer = pickle.loads(
                    await run_sync(answered, task, cancellable=True, limiter=self._limiter)
                )
                return answer
        return None

    def _died(self, seed: int) -> BlockAnswer:
        """A finding instead of an outcome: the schedule of a seed ends its process."""
        header = self.shared.headers[seed % len(self.shared.headers)]
        name = header["workload"]
        strategy = dealt(self.shared.strategy, len(self.shared.headers))
        defect = Defect(
            WORKER_DIED, "run", f"run/{WORKER_DIED}@{name}",
            f"the process that ran this schedule died {ATTEMPTS} times: out of memory, or a signal", 0,
            (), (), (),
        )  # fmt: skip
        nothing = (0,) * len(CATALOGUE)
        digest = hashlib.blake2b(WORKER_DIED.encode(), digest_size=DIGEST).digest()
        outcome = Outcome(name, seed, strategy, Verdict.FINDING, 0, 0, nothing, digest, bytes(SHAPE), defect=defect)
        return BlockAnswer([outcome], [0])
