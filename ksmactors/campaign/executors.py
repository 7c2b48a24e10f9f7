"""What runs the blocks of a campaign: processes of this machine, or (`dask_client`) those of a cluster."""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio
from anyio import BrokenWorkerProcess, CapacityLimiter
from anyio.to_process import run_sync

from ksmactors.campaign.workers import BlockAnswer, BlockTask, answered

SECONDS_BETWEEN: Final = 2.0
"""After which an executor that may grow is asked again how many blocks it runs."""


class WorkerLost(Exception):
    """The process that ran a block has died; `times`: so often, each time another one."""

    def __init__(self, times: int = 1) -> None:
        self.times = times
        super().__init__(times)


class Executor(Protocol):
    """Runs blocks, several at the same time."""

    grows: bool
    """Whether `slots` may be another number later."""

    at_once: bool
    """Whether it is to run all blocks, however few; else only if the first process would take long."""

    async def slots(self) -> int:
        """Return how many blocks should be given to it at the same time."""
        ...

    async def prepare(self) -> None:
        """Start what runs one of them. Whether that worked shows with the first block."""
        ...

    async def run(self, task: BlockTask) -> BlockAnswer:
        """Run a block.

        Raises:
            WorkerLost: its process has died.
        """
        ...


@dataclass(slots=True)
class LocalProcesses:
    """Worker processes of this machine. They end when the campaign does.

    Args:
        jobs: how many.
    """

    jobs: int
    grows: bool = False
    at_once: bool = False
    _limiter: CapacityLimiter | None = field(default=None)

    async def slots(self) -> int:
        """Return the number of processes."""
        self._limiter = CapacityLimiter(self.jobs)
        return self.jobs

    async def prepare(self) -> None:
        """Start a process. It is not cancelled meanwhile: anyio forgets one that is starting."""
        with trio.CancelScope(shield=True), suppress(BrokenWorkerProcess):
            await run_sync(os.getpid, limiter=self._limiter)

    async def run(self, task: BlockTask) -> BlockAnswer:
        """Run a block in a process; if that is cancelled, the process is killed."""
        try:
            data = await run_sync(answered, pickle.dumps(task), cancellable=True, limiter=self._limiter)
        except BrokenWorkerProcess:
            raise WorkerLost from None
        answer: BlockAnswer = pickle.loads(data)
        return answer
