"""A Dask cluster as what runs the blocks of a campaign.

A block is one Dask task. Dask runs it again when its worker is lost. What comes back is unpickled: a cluster is trusted
as the machines of one's own are.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
import os
import pickle
import re
import secrets
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

import trio
import zstandard

from ksmactors.campaign.executors import WorkerLost
from ksmactors.campaign.shipping import SentTask, Shipment, not_sent, shipment_of
from ksmactors.campaign.workers import BlockAnswer, BlockTask, SharedWork
from ksmactors.errors import INCONCLUSIVE, KsmActorsError, UsageError
from ksmactors.escaping import quoted

if TYPE_CHECKING:
    from distributed import Client, Future

LOCAL: Final = "local"
"""The address that stands for a cluster of this machine, which is started and ended with the campaign."""

CONNECT_SECONDS: Final = 5
"""In which a scheduler must answer."""

_ADDRESS: Final = re.compile(r"(?:(?:tcp|tls|ws|wss|ucx)://)?(?:[^\s/:@]+|\[[0-9a-fA-F:.]+\]):\d{1,5}")

_INSTALL: Final = "--dask needs the package distributed, which is not installed: pip install 'ksmactors[dask]'"


class ClusterLost(KsmActorsError):
    """The scheduler of the cluster does not answer any more."""

    exit_status = INCONCLUSIVE


@contextmanager
def cluster_at(address: str, jobs: int) -> Iterator[DaskCluster]:
    """Connect with a cluster, or start one.

    Args:
        address: that of its scheduler, or LOCAL.
        jobs: processes of a cluster that is started.

    Raises:
        UsageError: Dask is not installed, or no scheduler answers there.
    """
    if address != LOCAL and not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"--dask must be local or the address of a scheduler, as tcp://host:8786, not {quoted(address)}"
        )
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(_INSTALL) from None
    _silence()
    with ExitStack() as stack:
        where: Any = stack.enter_context(_local_cluster(jobs)) if address == LOCAL else address
        try:
            if address != LOCAL:
                asyncio.run(_look_for_scheduler(address))
            client = Client(where, timeout=CONNECT_SECONDS, set_as_default=False)
        except Exception as error:
            why = str(error).partition("\n")[0][:120] or type(error).__name__
            raise UsageError(
                f"--dask {address}: no Dask scheduler has answered there in {CONNECT_SECONDS} s ({why}); look whether "
                "it is running"
            ) from None
        stack.callback(_close, client)
        yield DaskCluster(address, client)


async def _look_for_scheduler(address: str) -> None:
    """Ask what is at an address: Dask's own timeout does not cover one that is silent.

    Raises:
        ValueError: it is no scheduler.
        TimeoutError, OSError: nothing answers.
    """
    from distributed.core import rpc

    async with asyncio.timeout(CONNECT_SECONDS), rpc(address, timeout=CONNECT_SECONDS) as there:
        kind = (await there.identity())["type"]
    if kind != "Scheduler":
        raise ValueError(f"it is a Dask {str(kind)[:20]}")


@contextmanager
def _local_cluster(jobs: int) -> Iterator[Any]:
    """A cluster of this machine. Ctrl-C in a terminal does not reach its processes: the campaign ends them."""
    from distributed import LocalCluster

    before = set(os.environ)
    with _blocked(signal.SIGINT, signal.SIGHUP):  # processes and threads that are started keep that
        cluster = LocalCluster(
            n_workers=jobs, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0,
            silence_logs=logging.CRITICAL, preload=("ksmactors.campaign.dask_worker",),
        )  # fmt: skip
    try:
        yield cluster
    finally:
        with suppress(Exception):
            cluster.close(timeout=CONNECT_SECONDS)
        for name in os.environ.keys() - before:  # Dask sets some for its workers, PYTHONHASHSEED among them
            del os.environ[name]


@contextmanager
def _blocked(*signals: signal.Signals) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _close(client: Client) -> None:
    with suppress(Exception):
        client.close(timeout=CONNECT_SECONDS)


def _silence() -> None:
    """Dask logs every lost connection, with a traceback. What matters about it is said by the campaign."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio", "bokeh"):
            logger = logging.getLogger(name)
            logger.handlers = [logging.NullHandler()]
            logger.propagate = False
    for package in ("distributed", "dask", "tornado", "asyncio"):
        logging.getLogger(package).setLevel(logging.CRITICAL + 1)
        logging.getLogger(package).propagate = False
        warnings.filterwarnings("ignore", module=rf"{package}(\.|$)")


def _answer(task: bytes, campaign: str) -> bytes:
    from ksmactors.campaign import dask_worker

    return dask_worker.answer(task, campaign)


async def _inspect(task: bytes, campaign: str, dask_worker: object) -> str:  # Dask gives the worker by this name
    from asyncio import to_thread

    def look() -> str:  # also the import would keep the worker from answering, in its event loop
        from ksmactors.campaign.dask_worker import inspect

        return inspect(task, campaign, dask_worker)

    return await to_thread(look)


def _by_value(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is sent with its code: the scheduler needs no ksmactors then, and a worker says that it has
    none."""
    assert isinstance(function, FunctionType)
    copy = FunctionType(function.__code__, {"__builtins__": builtins}, function.__name__)
    copy.__module__ = "__main__"
    return copy


@dataclass(slots=True)
class DaskCluster:
    """The executor of a campaign on a Dask cluster. Made by `cluster_at`.

    Args:
        address: where it is, for messages.
        client: the connection with its scheduler.
    """

    address: str
    client: Client
    grows: bool = True
    _campaign: str = field(default_factory=lambda: secrets.token_hex(8))
    _shipment: Shipment | None = None
    _sent: int = 0

    def check(self, shared: SharedWork) -> Iterator[str]:
        """Look whether all workers that there are now can run a campaign; yields a line for what should be known.

        Raises:
            UsageError: one cannot; the message names it, and why.
        """
        self._shipment = shipment_of(shared)
        yield from not_sent(self._shipment)
        task = pickle.dumps(SentTask(BlockTask(shared, range(0), 0, frozenset(), False, None), self._shipment, None))
        found: dict[str, Any] = self.client.run(_by_value(_inspect), task, self._campaign, on_error="return")
        for worker, problem in sorted(found.items()):
            if problem and not isinstance(problem, OSError):  # else it was lost; each is looked at with its first block
                raise UsageError(f"--dask {self.address}: the worker {worker} {_problem_of(problem)}")
        if not found:
            yield f"the cluster {self.address} has no workers yet; waiting for the first"

    async def slots(self) -> int:
        """Return how many blocks keep all workers busy: one for each thread, and one ahead for each worker."""
        with suppress(Exception):
            threads: dict[str, int] = await trio.to_thread.run_sync(self.client.nthreads, abandon_on_cancel=True)
            return max(1, sum(threads.values()) + len(threads))
        return 1

    async def run(self, task: BlockTask, take: Callable[[BlockAnswer], None]) -> None:
        """Run a block in the cluster. The answer comes as a whole."""
        take(await self._answer(task))

    async def _answer(self, task: BlockTask) -> BlockAnswer:
        assert self._shipment is not None
        deadline = task.shared.deadline
        left = None if deadline is None else deadline - monotonic()
        self._sent += 1
        sent = pickle.dumps(SentTask(task, self._shipment, left))
        key = f"ksmactors-{self._campaign}-{self._sent}"
        try:
            future = self.client.submit(_by_value(_answer), sent, self._campaign, key=key, pure=False)
            await _until_done(future)
            data = await trio.to_thread.run_sync(future.result, abandon_on_cancel=True)
        except Exception as error:
            return BlockAnswer(failure=self._failure(error))
        if not data:
            raise WorkerLost
        answer: BlockAnswer = pickle.loads(data)
        _unpack_logs(answer, task.log)
        return answer

    def _failure(self, error: Exception) -> Exception:
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            raise WorkerLost(2) from None  # Dask itself has tried it on several
        if isinstance(error, ModuleNotFoundError):
            return UsageError(f"--dask {self.address}: a worker {_problem_of(error)}")
        return ClusterLost(
            f"--dask {self.address}: the cluster was lost ({str(error).partition(chr(10))[0][:120]}); what was done is "
            "in the store, and --resume goes on"
        )


def _problem_of(error: object) -> str:
    """What is wrong with a worker, after its name."""
    if isinstance(error, str):
        return error
    missing = re.search(r"No module named '(\w+)", str(error))
    if missing is not None:
        return f"has no {missing[1]}; install it there, in the version of this machine"
    return f"has failed: {str(error).partition(chr(10))[0][:200]}"


def _unpack_logs(answer: BlockAnswer, log: Path | None) -> None:
    """Write the events of a block, which came as they are, where those of a process of this machine would be."""
    for data in answer.sent_logs:
        assert log is not None
        log.write_bytes(zstandard.decompress(data))
        answer.logs = {log: log.stat().st_size}
    answer.sent_logs = []


async def _until_done(future: Future) -> None:
    """Wait until a future of Dask is done, or is lost."""
    done, token = trio.Event(), trio.lowlevel.current_trio_token()

    def wake(_: Future) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(done.set)

    future.add_done_callback(wake)
    await done.wait()
