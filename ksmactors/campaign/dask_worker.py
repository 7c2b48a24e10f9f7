"""In a Dask worker: worker processes that run the blocks of a campaign, one for each of its threads.

A schedule may kill its process, prints to standard output, and wants a core for itself, so it does not run in the Dask
worker. Each campaign has processes of its own: no code of an earlier one is left in them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

import anyio
from anyio import BrokenWorkerProcess, CapacityLimiter
from anyio.from_thread import BlockingPortal
from anyio.to_process import run_sync
from distributed import Worker, get_worker

from ksmactors.campaign.shipping import answered_elsewhere, inspected

IDLE_SECONDS: Final = 30.0
"""After which the processes of a campaign that sends nothing are ended."""

LOOK_SECONDS: Final = 1.0
"""Between two looks at whether Dask still wants a block."""

LOST: Final = b""
"""What is returned instead of an answer if the process has died."""


@dataclass(slots=True)
class CampaignProcesses:
    """The worker processes of one campaign.

    Attributes:
        directory: a private one, for what they write.
        running: blocks that are run now.
        idle_since: since when there is none, in seconds of the monotonic clock.
    """

    directory: str
    portal: BlockingPortal
    running: int = 0
    idle_since: float = field(default_factory=monotonic)

    async def run(self, function: Callable[..., Any], *args: object, wanted: Callable[[], bool]) -> Any:
        """Call a function in a worker process; None if that has died, or if the result is not wanted any more."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_if_unwanted, tasks, wanted)
            try:
                result = await run_sync(function, *args, cancellable=True, limiter=CapacityLimiter(1))
            except BrokenWorkerProcess:
                result = None
            tasks.cancel_scope.cancel()
            return result
        return None


async def _cancel_if_unwanted(tasks: anyio.abc.TaskGroup, wanted: Callable[[], bool]) -> None:
    while wanted():  # noqa: ASYNC110  # Dask has no event for it
        await anyio.sleep(LOOK_SECONDS)
    tasks.cancel_scope.cancel()


_lock: Final = threading.Lock()
_campaigns: Final[dict[str, CampaignProcesses]] = {}


def answer(task: bytes, campaign: str) -> bytes:
    """Run a block for a campaign, which is named by a text of its own; returns the answer, or LOST.

    Called by Dask in a thread of the worker.
    """
    worker = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        state = worker.state.tasks.get(key)
        return state is not None and state.state != "cancelled"

    with _processes(campaign, worker) as processes:
        return _call(processes, answered_elsewhere, task, processes.directory, _name_of(worker), wanted=wanted) or LOST


def inspect(task: bytes, campaign: str, worker: Worker) -> str:
    """Return why this worker cannot run blocks of a campaign; empty if it can. It has a process ready then."""
    with _processes(campaign, worker) as processes:
        found: str | None = _call(processes, inspected, task, processes.directory, wanted=lambda: True)
    return "cannot start a process: it has died" if found is None else found


def _call(processes: CampaignProcesses, function: Callable[..., Any], *args: object, wanted: Callable[[], bool]) -> Any:
    async def call() -> Any:
        return await processes.run(function, *args, wanted=wanted)

    return processes.portal.call(call)


def _name_of(worker: Worker) -> str:
    return f"{worker.name} on {worker.address}" if worker.name != worker.address else str(worker.address)


@contextmanager
def _processes(campaign: str, worker: Worker) -> Iterator[CampaignProcesses]:
    """The processes of a campaign, which stay for the next block of it."""
    with _lock:
        if campaign not in _campaigns:
            directory = tempfile.mkdtemp(prefix="ksmactors-", dir=worker.local_directory)
            _campaigns[campaign] = CampaignProcesses(directory, _portal())
        processes = _campaigns[campaign]
        processes.running += 1
    try:
        yield processes
    finally:
        with _lock:
            processes.running -= 1
            processes.idle_since = monotonic()
        timer = threading.Timer(IDLE_SECONDS, _end_if_idle, (campaign,))
        timer.daemon = True
        timer.start()


def _end_if_idle(campaign: str) -> None:
    with _lock:
        processes = _campaigns.get(campaign)
        if processes is None or processes.running or monotonic() - processes.idle_since < IDLE_SECONDS / 2:
            return
        del _campaigns[campaign]
    processes.portal.start_task_soon(processes.portal.stop)
    shutil.rmtree(processes.directory, ignore_errors=True)


def _portal() -> BlockingPortal:
    """Start a trio loop in a thread; it does not keep the Dask worker from ending, as anyio's own would."""
    started: Future[BlockingPortal] = Future()

    async def serve() -> None:
        async with BlockingPortal() as portal:
            started.set_result(portal)
            await portal.sleep_until_stopped()

    threading.Thread(target=lambda: anyio.run(serve, backend="trio"), name="ksmactors", daemon=True).start()
    return started.result()


def dask_setup(_worker: Worker) -> None:
    """Preloaded by workers of `--dask local`: what Dask logs there must not reach the user's terminal."""
    nowhere = os.open(Path(os.devnull), os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
