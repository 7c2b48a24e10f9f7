"""What runs the blocks of a campaign: processes of this machine, or (`dask_client`) those of a cluster."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ksmactors.campaign.worker_processes import WorkerDied, WorkerProcesses
from ksmactors.campaign.workers import BlockAnswer, BlockTask

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

    async def slots(self) -> int:
        """Return how many blocks should be given to it at the same time."""
        ...

    async def run(self, task: BlockTask, take: Callable[[BlockAnswer], None]) -> None:
        """Run a block. `take` is called with each part of the answer as it comes.

        Raises:
            WorkerLost: its process has died; what was taken so far is not all.
            UsageError: no process can be started.
        """
        ...


@dataclass(slots=True)
class LocalProcesses:
    """Worker processes of this machine.

    Args:
        jobs: how many.
        processes: where they come from; the caller closes it.
    """

    jobs: int
    processes: WorkerProcesses
    grows: bool = False

    async def slots(self) -> int:
        """Return the number of processes."""
        return self.jobs

    async def run(self, task: BlockTask, take: Callable[[BlockAnswer], None]) -> None:
        """Run a block in a process."""
        try:
            await self.processes.answer(pickle.dumps(task), take)
        except WorkerDied:
            raise WorkerLost from None
