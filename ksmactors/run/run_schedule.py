"""Run one schedule on a fresh machine and determine its verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from traceback import format_exception
from typing import Final

import orjson
import trio

import ksmactors.interleave
from ksmactors import plugins, watch
from ksmactors.aside import is_lost_output
from ksmactors.call_stack import authors_traceback, frames_of
from ksmactors.errors import (
    CutShort,
    Finding,
    ForeignAwait,
    KsmActorsError,
    NotDeterministic,
    ReplayDiverged,
    StepLimit,
    StrategyFailed,
    UsageError,
    WatcherFailed,
    WorkloadCrashed,
)
from ksmactors.escaping import described
from ksmactors.events import catalogue as ev
from ksmactors.events.logs import Log
from ksmactors.events.trace import DetailedTrace, Trace
from ksmactors.failed_call import failed_call
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.schedule_string import encode, recorded
from ksmactors.interleave.search.base import Search
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.faults import named
from ksmactors.interleave.strategies.registry import renamed
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.interleave.task_pool import TaskPool
from ksmactors.machine import Machine
from ksmactors.places import author_line
from ksmactors.program import ProgramParts
from ksmactors.run.blame import attributed
from ksmactors.run.calibration import Calibration
from ksmactors.run.ceilings import must_say
from ksmactors.run.circles import cut_circles
from ksmactors.run.detail import DetailObserver
from ksmactors.run.outcome import ENDED, Defect, Outcome, Verdict
from ksmactors.run.story import story
from ksmactors.run.subject import Subject
from ksmactors.run.trust import Source, sources_of_strategy
from ksmactors.run.unawaited import Unawaited

_UNLOGGED: Final = nullcontext()


async def run_schedule(
    subject: Subject,
    seed: int,
    strategy: str,
    *,
    deciding: Strategy | None = None,
    tape: Tape | None = None,
    observing: Observer | None = None,
    on_machine: Callable[[Machine], None] | None = None,
    task_pool: TaskPool | None = None,
    log: Log | None = None,
    index: int = 0,
    keep: bool = False,
    keep_machine: bool = True,
    known: Container[str] = (),
    detail: bool = False,
) -> Outcome:
    """Run one schedule. To be awaited in trio, outside of any other schedule.

    Args:
        subject: what is run.
        seed: where its choices come from.
        strategy: what the schedule string says about who decides, as `--strategy` takes it.
        deciding: the strategy, ready to decide this schedule: `Replay` of one that was recorded, a search, or what
            `Calibration.strategy` returns. None: the strategy of that name, made ready for this schedule alone.
        tape: a new one that records the schedule and says what is drawn. None: that of a replay or a search, else one
            that draws at random.
        observing: notified of each operation.
        on_machine: called with the machine once its watchers are attached.
        task_pool: runs its actors, as in `Conductor.run`.
        log: where every event goes as well.
        index: number of the schedule in its campaign, for the log alone.
        keep: whether the outcome has the schedule string even if nothing went wrong.
        keep_machine: False if the machine and its actors are not looked at afterwards: without a new finding they go
            with the schedule then, and not when the garbage collector comes.
        known: signatures of known findings: an outcome with one of them has neither story nor, unless `keep`,
            schedule string. These cost several times what a short schedule does.

    Raises:
        UsageError: there is no such strategy, or the workload does not fit the machine.
        CutShort: a deciding search has explored all continuations.
        NotDeterministic: a deciding search met another state than before.
    """
    if deciding is None:
        deciding = await Calibration(run_schedule).strategy(subject, seed, strategy)
    tape = tape or _tape(seed, deciding)
    try:
        one = _ScheduleParts(subject, seed, strategy, deciding, tape, detail=detail, logged=log is not None)
    except Exception as error:
        raise named(error) from error.__cause__
    if isinstance(deciding, Replay):
        one.conductor.end_by(deciding.steps_max)
    if observing is not None:
        one.conductor.observe(observing)
    one.on_machine = on_machine
    with Unawaited(one.conductor) as forgotten:
        ended_by = await _error_of(one, log, index, task_pool)
    if ended_by is None:
        return one.ended(forgotten.crash() or one.shortfall(), keep, known, keep_machine=keep_machine)
    forgotten.warn()
    return one.ended(attributed(one.machine, ended_by), keep, known, keep_machine=keep_machine)


async def _error_of(
    one: _ScheduleParts, log: Log | None, index: int, task_pool: TaskPool | None
) -> BaseException | None:
    """Run a schedule; returns what ended it, if that is reported with the schedule."""
    try:
        with one.logged_to(log, index):
            await one.conductor.run("host", one.main, task_pool, own_tasks=one.subject.workload.own_tasks)
    except CutShort:
        one.conductor.forget()
        raise
    except (UsageError, NotDeterministic):
        raise
    except (KeyboardInterrupt, trio.Cancelled, BaseExceptionGroup):
        raise
    except BaseException as error:  # reported with its schedule, also sys.exit
        raised = error.__cause__ if isinstance(error, WorkloadCrashed) else error
        if raised is not None and is_lost_output(raised):
            raise raised from None
        return error
    return None


def _tape(seed: int, deciding: Strategy) -> Tape:
    """The tape of a strategy that knows what is drawn, else one that draws at random."""
    return deciding.tape(seed) if isinstance(deciding, (Search, Replay)) else Tape(seed)


class _ScheduleParts:
    """The parts of one schedule, and its outcome."""

    def __init__(
        self, subject: Subject, seed: int, strategy: str, deciding: Strategy, tape: Tape, *, detail: bool, logged: bool
    ) -> None:
        self.subject, self.seed, self.strategy = subject, seed, strategy
        self.deciding, self.tape = deciding, tape
        self.deciding.begin(strategy_rng(seed))
        self.conductor = Conductor(self.deciding, self.tape, max_steps=subject.max_steps)
        self.detail: DetailObserver | None = None
        self.trace = DetailedTrace(self.conductor) if detail or logged else Trace(self.conductor)
        if detail and isinstance(self.trace, DetailedTrace):
            self.detail = DetailObserver(self.trace)
            self.conductor.observe(self.detail)
        self.machine: Machine | None = None
        self.on_machine: Callable[[Machine], None] | None = None

    def logged_to(self, log: Log | None, index: int) -> AbstractContextManager[None]:
        """Have every event written to `log` too, and what the workload gives to `logging`."""
        if log is None or not isinstance(self.trace, DetailedTrace):
            return _UNLOGGED
        from ksmactors.events.bridge import taking_records

        name, actors = self.subject.workload.name, self.conductor.actors
        self.trace.sinks.append(log.sink(actors, run=name, seed=self.seed, schedule=index))
        return taking_records(self.trace, actors, run=name, seed=self.seed, schedule=index)

    async def main(self) -> None:
        """The code of the first actor."""
        subject = self.subject
        self.trace.emit(ev.RUN_START, subject.workload.name, subject.kernel, subject.nodes, _in_events(self.strategy))
        await subject.workload.perform(ProgramParts(self.conductor, self.trace, self._machine))

    def _machine(self) -> Machine:
        subject = self.subject
        machine = self.machine = Machine(
            self.conductor, self.trace, nodes=subject.nodes, kernel=subject.kernel,
            without=subject.without, with_=subject.with_, inject=dict(subject.inject),
        )  # fmt: skip
        watch.attach(machine, subject.watchers)
        if self.detail is not None:
            self.detail.attach(machine)
        if self.on_machine is not None:
            self.on_machine(machine)
        return machine

    def shortfall(self) -> ReplayDiverged | None:
        """Return the error of a replay that ended before its recording, or None."""
        if isinstance(self.deciding, Replay) and self.deciding.left:
            choices = len(self.tape.turns)
            return ReplayDiverged(choices, self.conductor.step, f"{self.deciding.left} more choices", "the end")
        return None

    def ended(self, error: Exception | None, keep: bool, known: Container[str], *, keep_machine: bool) -> Outcome:
        """Return the outcome, and leave nothing that only the garbage collector could free, as far as possible.

        Args:
            error: what an actor raised.
            keep, known, keep_machine: as in `run_schedule`.
        """
        outcome = self._outcome(error, keep, known)
        self.conductor.forget()
        if isinstance(error, Finding) and error.signature in known:
            error.__traceback__ = None  # which has all frames, and they the conductor
        elif error is not None:
            return outcome
        if not keep_machine:
            cut_circles(self.conductor, self.machine)
        return outcome

    def _outcome(self, error: Exception | None, keep: bool, known: Container[str]) -> Outcome:
        verdict = _verdict(error)
        steps, turns, trace = self.conductor.step, self.tape.turns, self.trace
        if isinstance(error, Finding):
            trace.emit(ev.FINDING, error.watcher, error.kind, error.signature, error.message)
        trace.emit(ev.RUN_END, verdict.value, steps, len(turns))
        digest = trace.digest()
        new = error is not None and not (isinstance(error, Finding) and error.signature in known)
        return Outcome(
            workload=self.subject.name,
            seed=self.seed,
            strategy=self.strategy,
            verdict=verdict,
            steps=steps,
            choices=len(turns),
            counts=tuple(trace.counts),
            digest=digest,
            shape=_shape(turns),
            metrics=self._metrics(),
            schedule=self._schedule(digest) if new or keep else "",
            marks=self.trace.marks,
            lock_edges=watch.lock_edges(self.machine),
            defect=None if error is None else self._defect(error, verdict, new),
            sources=_with(self.subject.sources, sources_of_strategy(self.strategy)),
            error=error,
        )

    def _metrics(self) -> Mapping[str, int]:
        try:
            return self.deciding.concluded()
        except Exception as error:
            raise named(error) from error.__cause__

    def _schedule(self, digest: bytes) -> str:
        strategy = renamed(self.strategy, plugins.absolute)
        header = {**self.subject.header(), "seed": self.seed, "strategy": strategy, "digest": digest.hex()}
        if self.deciding.thorough:
            header["thorough"] = True
        if must_say(self.conductor.spent, len(self.tape.turns), self.subject.nodes):
            header["steps"] = self.conductor.spent
        return encode(recorded(header, self.tape))

    def _defect(self, error: Exception, verdict: Verdict, new: bool) -> Defect:
        watcher, kind, message = _classified(error, verdict)
        actors, where = self._actors(error), _where(error)
        conductor = self.conductor
        places = [conductor.places.get(one.number, where if one is conductor.turn else ENDED) for one in actors]
        return Defect(
            kind=kind,
            watcher=watcher,
            signature=error.signature if isinstance(error, Finding) else f"{watcher}/{kind}@{where}",
            message=message,
            step=self.conductor.step,
            actors=tuple(actor.name for actor in actors),
            functions=tuple(places),
            story=story(self.trace.recent(), conductor.actors) if new else (),
            traceback=_traceback(error, verdict),
            place=author_line(_raised(error)) if new else "",
        )

    def _actors(self, error: Exception) -> list[Actor]:
        """Return the actors involved: the running one, and the other one that a finding names, or all that can never
        go on."""
        conductor = self.conductor
        if isinstance(error, Finding) and conductor.stuck:
            return conductor.stuck
        other = error.other if isinstance(error, Finding) else -1
        return [conductor.turn, *([conductor.actors[other]] if other >= 0 else [])]


def _with(sources: tuple[Source, ...], more: tuple[Source, ...]) -> tuple[Source, ...]:
    return tuple(dict.fromkeys(sources + more)) if more else sources


@cache  # each schedule asks for it
def _in_events(strategy: str) -> str:
    """Return the text of a strategy as events have it: they do not depend on where the files are."""
    return renamed(strategy, _without_folder)


def _without_folder(spec: str) -> str:
    path = plugins.file_of(spec)
    return spec if path is None else plugins.moved(spec, Path(path.name))


def _verdict(error: Exception | None) -> Verdict:
    """Return the verdict of a schedule in which an actor raised `error`."""
    if error is None:
        return Verdict.OK
    for kind, verdict in _VERDICTS:
        if isinstance(error, kind):
            return verdict
    return Verdict.BROKEN


_VERDICTS: Final = (
    (Finding, Verdict.FINDING),
    (StepLimit, Verdict.INCONCLUSIVE),
    (ReplayDiverged, Verdict.DIVERGED),
    (WorkloadCrashed, Verdict.CRASHED),
    (StrategyFailed, Verdict.CRASHED),
    (ForeignAwait, Verdict.CRASHED),
)


def _classified(error: Exception, verdict: Verdict) -> tuple[str, str, str]:
    """Return (watcher, kind, message) of a defect."""
    if isinstance(error, Finding):
        return error.watcher, error.kind, error.message
    if isinstance(error, WatcherFailed):
        return error.watcher, verdict.value, str(error)
    message = str(error) if isinstance(error, KsmActorsError) else described(error)
    return "run", verdict.value, message


def _where(error: Exception) -> str:
    """Return the function in which the error was raised."""
    if isinstance(error, Finding):
        return error.where
    inside = (frame.f_code for frame in frames_of(_raised(error)))
    return next((code.co_name for code in inside if not code.co_filename.startswith(_MACHINERY)), "")


def _raised(error: Exception) -> BaseException:
    """Return what was raised first, of a crash its cause."""
    return error.__cause__ if isinstance(error, _HAVE_CAUSES) and error.__cause__ else error


_HAVE_CAUSES: Final = (WorkloadCrashed, WatcherFailed, StrategyFailed)


_MACHINERY: Final = (str(Path(trio.__file__).parent), str(Path(ksmactors.interleave.__file__).parent))
"""Code whose exceptions belong to its caller."""


def _traceback(error: Exception, verdict: Verdict) -> str:
    """Return the traceback of an exception of the workload, a plug-in or ksmactors; "" for a finding.

    That of an author's code begins where ksmactors calls it.
    """
    if verdict is not Verdict.BROKEN and error.__cause__ is None:
        return ""
    cause = error.__cause__ or error
    is_ours = verdict is Verdict.BROKEN and not (isinstance(error, WatcherFailed) and error.place)
    traceback = cause.__traceback__ if is_ours else authors_traceback(cause, of_call=failed_call(cause) is not None)
    return "".join(format_exception(type(cause), cause, traceback))


def _shape(turns: list[tuple[int, int]]) -> bytes:
    """Return a hash over the turns: equal for equal interleavings."""
    try:
        packed = orjson.dumps(turns)
    except TypeError:  # more than 64 actors: a mask is a longer number than orjson takes, and decimals take long, too
        packed = ";".join(f"{mask:x},{points:x}" for mask, points in turns).encode()
    return hashlib.blake2b(packed, digest_size=8).digest()
