"""Worker processes: run the schedules of a block and send back what came of them.

A worker is a process of `anyio.to_process`. It ends when its parent does, also if that is killed, and leaves
interruptions to it.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO, TextIOWrapper
from pathlib import Path
from traceback import format_exc
from typing import Any, Final

import anyio

from ksmactors.campaign.blocks import micros_of
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.campaign.summary import Found, Summary
from ksmactors.errors import EmulatorBug, KsmActorsError, UsageError, WatcherFailed
from ksmactors.events.logs import LogWriter, json_line, open_log, terminal_json_line
from ksmactors.plugins import log_processors
from ksmactors.run.calibration import Calibration
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, make_subject
from ksmactors.run.trust import Source

_STDIN: Final = 0
"""The pipe through which the parent sends work: it is closed when the parent ends."""


@dataclass(frozen=True, slots=True)
class SharedWork:
    """What all blocks of a campaign have in common.

    Attributes:
        headers: the subjects, as `Subject.header` describes them.
        sources: the files of each, as the parent has read them.
        log_config: the `--log-config` of the campaign.
        terminal: whether the log goes to a terminal.
        measured, thorough: as for a Plan.
    """

    headers: tuple[Mapping[str, Any], ...]
    sources: tuple[tuple[Source, ...], ...]
    strategy: str
    detail: bool = False
    stop_at_first: bool = False
    deadline: float | None = None
    log_config: str | None = None
    terminal: bool = False
    measured: bool = False
    thorough: bool = False


@dataclass(frozen=True, slots=True)
class BlockTask:
    """A block to run: its seeds, the number of the first in the campaign, the signatures that are known already,
    whether a schedule that ran out of steps is, and the file for the events, if there is a log."""

    shared: SharedWork
    seeds: range
    index: int
    known: frozenset[str]
    given_up: bool
    log: Path | None


@dataclass(slots=True)
class BlockAnswer:
    """What came of a block: its outcomes in order, their microseconds, what was printed, and how far it got.

    Attributes:
        logs: the files with the events, in order.
        failure: the error that ended it, beside what is an outcome.
        interrupted: whether its code raised KeyboardInterrupt.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    micros: list[int] = field(default_factory=list)
    printed: str = ""
    complained: str = ""
    logs: list[Path] = field(default_factory=list)
    log_status: int = 0
    failure: Exception | None = None
    interrupted: bool = False

    def add(self, other: BlockAnswer) -> None:
        """Append what came of the seeds that follow."""
        self.outcomes += other.outcomes
        self.micros += other.micros
        self.logs += other.logs
        self.printed += other.printed
        self.complained += other.complained
        self.log_status = self.log_status or other.log_status
        self.failure, self.interrupted = other.failure, other.interrupted


def answered(task: bytes) -> bytes:
    """Run a pickled BlockTask in this worker process and return the pickled BlockAnswer. No file holds either."""
    _settle()
    work: BlockTask = pickle.loads(task)
    answer = run_block(work)
    try:
        return pickle.dumps(answer)
    except Exception:  # an outcome or an error with what cannot be sent
        return pickle.dumps(BlockAnswer(failure=EmulatorBug(f"a worker cannot send its answer: {format_exc()}")))


def run_block(task: BlockTask) -> BlockAnswer:
    """Run the schedules of a block."""
    answer = BlockAnswer(logs=[task.log] if task.log is not None else [])
    try:
        subjects, calibration = _prepared(pickle.dumps((task.shared.headers, task.shared.sources)))
        with _printing(answer), _log_of(task) as log:
            campaign = _campaign(task, subjects, calibration, log)
            campaign.on_outcome = lambda outcome, seconds: _note(answer, outcome, seconds)
            anyio.run(campaign.run, backend="trio")
            answer.interrupted = campaign.interrupted_at is not None
        answer.log_status = log.status(0) if log is not None else 0
    except KsmActorsError as error:
        answer.failure = error
    except Exception:
        answer.failure = EmulatorBug(f"a worker failed: {format_exc()}")
    return answer


def _note(answer: BlockAnswer, outcome: Outcome, seconds: float) -> None:
    error = outcome.error if isinstance(outcome.error, WatcherFailed) else None
    answer.outcomes.append(replace(outcome, error=error, marks=dict(outcome.marks), metrics=dict(outcome.metrics)))
    answer.micros.append(micros_of(seconds))


def _campaign(
    task: BlockTask, subjects: Sequence[Subject], calibration: Calibration, log: LogWriter | None
) -> Campaign:
    shared = task.shared
    plan = Plan(subjects, task.seeds, shared.strategy, log=log, detail=shared.detail, measured=shared.measured,
                thorough=shared.thorough)  # fmt: skip
    known = Outcome("", 0, "", Verdict.FINDING, 0, 0, (), b"", b"")
    tally = Summary(found={signature: Found(known) for signature in sorted(task.known)})
    tally.given_up = Found(known) if task.given_up else None
    campaign = Campaign(plan, tally, calibration=calibration, stop_at_first=shared.stop_at_first)
    campaign.deadline, campaign.first = shared.deadline, task.index
    return campaign


@lru_cache(maxsize=1)
def _prepared(key: bytes) -> tuple[list[Subject], Calibration]:
    """The subjects of a campaign and what strategies know of them, for all blocks that this process runs.

    Raises:
        UsageError: a file has changed since the campaign began.
    """
    headers, sources = pickle.loads(key)
    subjects = [subject_of(header) for header in headers]
    for subject, before in zip(subjects, sources, strict=True):
        for now, then in zip(subject.sources, before, strict=True):
            if now != then:
                raise UsageError(f"{now.file} has changed since the campaign began; start the campaign again")
    return subjects, Calibration(run_schedule)


def subject_of(header: Mapping[str, Any]) -> Subject:
    """Return the subject that `Subject.header` describes. This loads its code.

    Raises:
        UsageError: something that it names does not exist here.
    """
    return make_subject(
        header["workload"], params=header["params"], kernel=header["kernel"], nodes=header["nodes"],
        without=header["without"], with_=header["with"], watch=header["watch"] or "none",
        max_steps=header["max_steps"], inject=header.get("inject", ""),
    )  # fmt: skip


@contextmanager
def _log_of(task: BlockTask) -> Iterator[LogWriter | None]:
    if task.log is None:
        yield None
        return
    with open_log(str(task.log), log_processors(task.shared.log_config)) as log:
        log.form = terminal_json_line if task.shared.terminal else json_line
        yield log


@contextmanager
def _printing(answer: BlockAnswer) -> Iterator[None]:
    """Keep what a workload prints: the parent prints it in the order of the seeds."""
    printed, complained = (TextIOWrapper(BytesIO(), "utf-8", errors="surrogateescape") for _ in range(2))
    try:
        with redirect_stdout(printed), redirect_stderr(complained):
            yield
    finally:
        answer.printed, answer.complained = _text_of(printed), _text_of(complained)


def _text_of(stream: TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


@lru_cache(maxsize=1)
def _settle() -> None:
    """Leave interruptions to the parent, which gets them too, and end with it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = select.poll()
    parent.register(_STDIN, 0)  # an end that was closed is reported in any case
    parent.poll()
    os._exit(1)
