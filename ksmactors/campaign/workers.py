"""Worker processes: run the schedules of a block and send back what came of them.

A worker is a process of `fork_server`. It ends when its parent does, also if that is killed, and leaves interruptions
to it. What it has run is handed in several times a second, so that an interruption costs next to nothing.
"""

from __future__ import annotations

import errno
import gc
import os
import pickle
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO, TextIOWrapper
from pathlib import Path
from time import monotonic
from traceback import format_exc
from typing import Any, Final, NoReturn

import trio
from typing_extensions import override

from ksmactors.campaign.blocks import Arm, micros_of
from ksmactors.campaign.dealing import AsGiven
from ksmactors.campaign.open_files import flush_open_files
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.campaign.summary import Found, Summary
from ksmactors.errors import EmulatorBug, KsmActorsError, UsageError, WatcherFailed
from ksmactors.events.logs import LogWriter, json_line, open_log, terminal_json_line
from ksmactors.garbage import collect_seldom
from ksmactors.interleave.endless_loop import ended_by_timer
from ksmactors.plugins import log_processors
from ksmactors.run.calibration import Calibration
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, make_subject
from ksmactors.run.trust import Source

HEAD: Final = struct.Struct(">?Q")
"""What a message begins with: whether it is the last for a task, and the bytes that follow."""

HAND_IN_SECONDS: Final = 0.2
"""Seconds after which a worker hands in what it has."""

_CLOSED: Final = "code of a plug-in has closed a file of ksmactors (os.close); it must close only what it has opened"

HandIn = Callable[["BlockAnswer"], None]
"""Takes a part of an answer."""


@dataclass(frozen=True, slots=True)
class SharedWork:
    """What all blocks of a campaign have in common.

    Attributes:
        headers: the subjects, as `Subject.header` describes them.
        sources: the files of each, as the parent has read them.
        log_config: the `--log-config` of the campaign.
        terminal: whether the log goes to a terminal.
        moved: files that parameters name, and where they are on the machine of the worker, if that is elsewhere.
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
    moved: Mapping[str, str] = field(default_factory=dict)
    measured: bool = False
    thorough: bool = False


@dataclass(frozen=True, slots=True)
class BlockTask:
    """A block to run: its seeds, the number of the first in the campaign, the signatures that are known already,
    whether a schedule that ran out of steps is, the file for the events, if there is a log, and what each seed is run
    with, if they are not dealt in turn."""

    shared: SharedWork
    seeds: range
    index: int
    known: frozenset[str]
    given_up: bool
    log: Path | None
    arms: tuple[Arm, ...] = ()


@dataclass(slots=True)
class BlockAnswer:
    """What came of a block: its outcomes in order, their microseconds, what was printed, and how far it got.

    Attributes:
        logs: the files with the events, in order, each with the bytes that belong to these outcomes.
        sent_logs: the same from another machine, where they are not files: packed by Zstandard.
        log_problem: why events are missing there; empty if none is.
        failure: the error that ended it, beside what is an outcome.
        interrupted: whether its code raised KeyboardInterrupt.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    micros: list[int] = field(default_factory=list)
    printed: str = ""
    complained: str = ""
    logs: dict[Path, int] = field(default_factory=dict)
    sent_logs: list[bytes] = field(default_factory=list)
    log_problem: str = ""
    failure: Exception | None = None
    interrupted: bool = False

    def add(self, other: BlockAnswer) -> None:
        """Append what came of the seeds that follow."""
        self.outcomes += other.outcomes
        self.micros += other.micros
        self.logs |= other.logs
        self.printed += other.printed
        self.complained += other.complained
        self.log_problem = self.log_problem or other.log_problem
        self.failure, self.interrupted = other.failure, other.interrupted


def serve(connection: socket.socket) -> None:
    """Run the pickled tasks that come through a socket, and send back pickled answers. No file holds either."""
    settle(connection)
    _send(connection, b"", last=True)
    while (head := connection.recv(HEAD.size, socket.MSG_WAITALL)) != b"":
        _, size = HEAD.unpack(head)
        task: BlockTask = pickle.loads(connection.recv(size, socket.MSG_WAITALL))
        rest = run_block(task, lambda part: _send(connection, _pickled(part), last=False))
        _send(connection, sendable(rest), last=True)


def _send(connection: socket.socket, message: bytes, *, last: bool) -> None:
    connection.sendall(HEAD.pack(last, len(message)) + message)


def sendable(answer: BlockAnswer) -> bytes:
    """Return a pickled answer; one that says why, if it cannot be pickled."""
    try:
        return _pickled(answer)
    except EmulatorBug as error:
        return pickle.dumps(BlockAnswer(failure=error))


def _pickled(answer: BlockAnswer) -> bytes:
    """Return a pickled answer.

    Raises:
        EmulatorBug: an outcome or an error has what cannot be sent.
    """
    try:
        return pickle.dumps(answer)
    except Exception:
        raise EmulatorBug(f"a worker cannot send its answer: {format_exc()}") from None


def run_block(task: BlockTask, hand_in: HandIn | None = None) -> BlockAnswer:
    """Run the schedules of a block and return what came of them, apart from what was handed in before.

    Args:
        task: the block.
        hand_in: takes parts of the answer as they come; None: there are none.
    """
    _open_standard_files()
    parts = _Parts(task.log, hand_in)
    try:
        subjects, calibration = prepared(task.shared)
        with parts.printing(), _log_of(task) as log:
            campaign = _campaign(task, subjects, calibration, log)
            campaign.on_outcome = parts.note
            with ended_by_timer():
                trio.run(campaign.run)
            parts.answer.interrupted = campaign.interrupted_at is not None
        parts.answer.log_problem = log.problem if log is not None else ""
    except KsmActorsError as error:
        parts.answer.failure = error
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EBADF:
            parts.answer.failure = UsageError(_CLOSED)
            return parts.answer
        parts.answer.failure = EmulatorBug(f"a worker failed: {format_exc()}")
    return parts.answer


def _open_standard_files() -> None:
    """Open what code of a plug-in has closed with `os.close`: else the event loop would get the descriptor, and the
    next schedule close that."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free, this one


class _Printed(TextIOWrapper):
    """Keeps what is printed. Closing it closes nothing."""

    def __init__(self) -> None:
        super().__init__(BytesIO(), "utf-8", errors="surrogateescape")

    @override
    def close(self) -> None:
        self.flush()


@dataclass(slots=True)
class _Parts:
    """The answer to a task as it grows, handed in part by part.

    Attributes:
        log: the file with the events.
        answer: what was not handed in yet.
        out, err: what workloads print. The parent prints it in the order of the seeds.
    """

    log: Path | None
    hand_in: HandIn | None
    answer: BlockAnswer = field(default_factory=BlockAnswer)
    out: TextIOWrapper = field(default_factory=_Printed)
    err: TextIOWrapper = field(default_factory=_Printed)
    _at: float = field(default_factory=monotonic)

    def note(self, outcome: Outcome, seconds: float) -> None:
        """Take the outcome of a schedule."""
        error = outcome.error if isinstance(outcome.error, WatcherFailed) else None
        sent = replace(outcome, error=error, marks=dict(outcome.marks), metrics=dict(outcome.metrics))
        self.answer.outcomes.append(sent)
        self.answer.micros.append(micros_of(seconds))
        if self.hand_in is not None and monotonic() - self._at >= HAND_IN_SECONDS:
            self._collect()
            self.hand_in(self.answer)
            self.answer, self._at = BlockAnswer(), monotonic()

    @contextmanager
    def printing(self) -> Iterator[None]:
        """Keep what a workload prints."""
        try:
            with redirect_stdout(self.out), redirect_stderr(self.err):
                yield
        finally:
            self._collect()

    def _collect(self) -> None:
        """Add what was printed and logged."""
        self.answer.printed, self.answer.complained = _taken(self.out), _taken(self.err)
        if self.log is not None:
            with suppress(FileNotFoundError):
                self.answer.logs = {self.log: self.log.stat().st_size}


def _campaign(
    task: BlockTask, subjects: Sequence[Subject], calibration: Calibration, log: LogWriter | None
) -> Campaign:
    shared = task.shared
    plan = Plan(
        subjects, task.seeds, shared.strategy, log=log, detail=shared.detail, measured=shared.measured,
        thorough=shared.thorough, deal=AsGiven(task.seeds.start, task.arms) if task.arms else None,
    )  # fmt: skip
    known = Outcome("", 0, "", Verdict.FINDING, 0, 0, (), b"", b"")
    tally = Summary(found={signature: Found(known) for signature in sorted(task.known)})
    tally.given_up = Found(known) if task.given_up else None
    campaign = Campaign(plan, tally, calibration=calibration, stop_at_first=shared.stop_at_first)
    campaign.deadline, campaign.first = shared.deadline, task.index
    return campaign


def prepared(shared: SharedWork) -> tuple[list[Subject], Calibration]:
    """Return the subjects of a campaign and what strategies know of them, loaded once in this process.

    Raises:
        UsageError: a file is missing, or has changed since the campaign began; or its code cannot be loaded.
    """
    return _prepared(pickle.dumps((shared.headers, shared.sources, shared.moved)))


@lru_cache(maxsize=1)
def _prepared(key: bytes) -> tuple[list[Subject], Calibration]:
    headers, sources, moved = pickle.loads(key)
    subjects = [_prepared_subject(header, before, moved) for header, before in zip(headers, sources, strict=True)]
    return subjects, Calibration(run_schedule)


def _prepared_subject(header: Mapping[str, Any], sources: tuple[Source, ...], moved: Mapping[str, str]) -> Subject:
    """Load a subject whose parameters may name files that are elsewhere here; it does not say so itself."""
    params = {name: moved.get(value, value) for name, value in header["params"].items()}
    subject = subject_of({**header, "params": params})
    now = {source.file: source.sha256 for source in subject.sources}
    for source in sources:
        here = now.get(moved.get(source.file, source.file))
        if here is None:
            raise UsageError(f"{source.file} is not there")
        if here != source.sha256:
            raise UsageError(f"{source.file} has changed since the campaign began; start the campaign again")
    return replace(subject, params=tuple(header["params"].items()), sources=sources)


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
    with open_log(str(task.log), log_processors(task.shared.log_config), is_part=True) as log:
        log.form = terminal_json_line if task.shared.terminal else json_line
        yield log


def _taken(stream: TextIOWrapper) -> str:
    """Take what is in a stream out of it."""
    stream.seek(0)
    text = stream.read()
    stream.seek(0)
    stream.truncate()
    return text


def settle(parent: socket.socket | int) -> None:
    """Leave interruptions to the parent, end when it closes its end of `parent`, and collect garbage seldom."""
    leave_interruptions_to_parent()
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    collect_seldom()


def leave_interruptions_to_parent() -> None:
    """Ignore what the parent gets, too: it ends this process when it has ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _end_with_parent(connection: socket.socket | int) -> None:
    parent = select.poll()
    parent.register(connection, 0)  # an end that was closed is reported in any case
    parent.poll()
    end_worker()


def end_worker() -> NoReturn:
    """End this process at once, with what it has printed into files written: nothing of the parent's may run here."""
    gc.unfreeze()
    flush_open_files()
    os._exit(1)
