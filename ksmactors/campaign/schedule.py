"""One schedule: everything is built for it anew, run, and judged."""

from __future__ import annotations

import hashlib
from pathlib import Path
from traceback import format_exception, walk_tb
from typing import Any, Final

import orjson
import trio

import ksmactors.interleave
from ksmactors import watch
from ksmactors.campaign.outcome import Defect, Outcome, Verdict
from ksmactors.campaign.subject import Subject
from ksmactors.errors import (
    Finding,
    ForeignAwait,
    KsmActorsError,
    ReplayDiverged,
    StepLimit,
    UsageError,
    WorkloadCrashed,
)
from ksmactors.events import catalogue as ev
from ksmactors.events.logs import LogWriter
from ksmactors.events.terminal import PersonForm
from ksmactors.events.trace import Record, Trace
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.schedule import Schedule, encode
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.strategies.replay import Replay, ReplayTape
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.machine import Machine
from ksmactors.workload import Host

STORY: Final = 30
"""Events that are told before a finding: about what fits a screen."""

LOUD: Final = tuple(event.level != "debug" for event in ev.CATALOGUE)
"""By code, whether an event belongs into a story: an event of level debug does not."""


async def run_schedule(
    subject: Subject,
    seed: int,
    strategy: str,
    *,
    replayed: Schedule | None = None,
    log: LogWriter | None = None,
    index: int = 0,
    keep: bool = False,
) -> Outcome:
    """Run one schedule. To be awaited in trio, outside of any other schedule.

    Args:
        subject: what is run.
        seed: where its choices come from.
        strategy: who decides who moves, as `--strategy` takes it.
        replayed: the schedule to follow instead of drawing one.
        log: where every event goes as well.
        index: number of the schedule in its campaign, for the log alone.
        keep: whether the outcome has the schedule string even if nothing went wrong.

    Raises:
        UsageError: there is no such strategy, or the workload does not fit the machine.
    """
    one = _Run(subject, seed, strategy, replayed, keep)
    one.attach_log(log, index)
    try:
        await one.conductor.run("host", one.main)
    except UsageError:
        raise
    except Exception as error:  # whatever an actor raised is told with the schedule that led there
        return one.outcome(error)
    return one.outcome(one.shortfall())


class _Run:
    """The parts of one schedule, and what they come to."""

    def __init__(self, subject: Subject, seed: int, strategy: str, replayed: Schedule | None, keep: bool) -> None:
        self.subject, self.seed, self.strategy, self.keep = subject, seed, strategy, keep
        self.deciding: Strategy = parse(strategy) if replayed is None else Replay(replayed)
        self.tape = Tape(seed) if replayed is None else ReplayTape(replayed)
        self.deciding.begin(strategy_rng(seed))
        self.conductor = Conductor(self.deciding, self.tape, max_steps=subject.max_steps)
        self.trace = Trace(self.conductor)
        self.machine = Machine(
            self.conductor, self.trace, nodes=subject.nodes, kernel=subject.kernel,
            without=subject.without, with_=subject.with_, inject=dict(subject.inject),
        )  # fmt: skip
        watch.attach(self.machine, subject.watchers)

    def attach_log(self, log: LogWriter | None, index: int) -> None:
        """Have every event written to `log` too."""
        if log is not None:
            sink = log.sink(self.conductor.actors, run=self.subject.workload.name, seed=self.seed, schedule=index)
            self.trace.sinks.append(sink)

    async def main(self) -> None:
        """What the first actor does."""
        subject = self.subject
        self.trace.emit(ev.RUN_START, subject.workload.name, subject.kernel, subject.nodes, self.strategy)
        await Host(self.machine).main(subject.workload)

    def shortfall(self) -> ReplayDiverged | None:
        """What is wrong with a replay that came to an end: it may have ended before its recording does."""
        if isinstance(self.deciding, Replay) and self.deciding.left:
            choices = len(self.tape.turns)
            return ReplayDiverged(choices, self.conductor.step, f"{self.deciding.left} more choices", "the end")
        return None

    def outcome(self, error: Exception | None) -> Outcome:
        """Judge how it ended; `error` is what an actor raised."""
        verdict = _verdict(error)
        steps, tape, trace = self.conductor.step, self.tape, self.trace
        if isinstance(error, Finding):
            trace.emit(ev.FINDING, error.watcher, error.kind, error.signature, error.message)
        trace.emit(ev.RUN_END, verdict.value, steps, len(tape.turns))
        digest = trace.digest()
        header = {**self.subject.header(), "seed": self.seed, "strategy": self.strategy, "digest": digest.hex()}
        return Outcome(
            workload=self.subject.name,
            seed=self.seed,
            strategy=self.strategy,
            verdict=verdict,
            steps=steps,
            choices=len(tape.turns),
            counts=tuple(trace.counts),
            digest=digest,
            shape=_shape(tape.turns),
            schedule=encode(Schedule(header, tape.turns, tape.draws)) if error is not None or self.keep else "",
            defect=None if error is None else self._defect(error, verdict),
            error=error,
        )

    def _defect(self, error: Exception, verdict: Verdict) -> Defect:
        watcher, kind, message = _told(error, verdict)
        actors, where = self._actors(error), _where(error)
        places = [self.conductor.places.get(actor.number, where) for actor in actors]
        return Defect(
            kind=kind,
            watcher=watcher,
            signature=error.signature if isinstance(error, Finding) else f"{watcher}/{kind}@{where}",
            message=message,
            step=self.conductor.step,
            actors=tuple(actor.name for actor in actors),
            functions=tuple(places),
            story=self._story(),
            traceback=_traceback(error, verdict),
        )

    def _actors(self, error: Exception) -> list[Actor]:
        """The actors that met: the one that had the turn, and the other one that a finding names, or all that a
        deadlock has caught."""
        conductor = self.conductor
        if isinstance(error, Finding) and conductor.stuck:
            return conductor.stuck
        other = error.other if isinstance(error, Finding) else -1
        return [conductor.turn, *([conductor.actors[other]] if other >= 0 else [])]

    def _story(self) -> tuple[str, ...]:
        """The last events in a person's form, those of level debug left out."""
        form, actors = PersonForm(), self.conductor.actors
        told = [record for record in self.trace.recent() if LOUD[record[0]]][-STORY:]
        return tuple(form.line(*_rendered(record, actors)) for record in told)


def _rendered(record: Record, actors: list[Actor]) -> tuple[str, dict[str, Any]]:
    """What the person's form takes: the level, and the keys of a log line."""
    code, step, now, number, *values = record
    event = ev.CATALOGUE[code]
    fields = dict(zip((field.name for field in event.fields), values, strict=True))
    return event.level, {"event": event.name, "step": step, "now": now, "actor": actors[number].name, **fields}


def _verdict(error: Exception | None) -> Verdict:
    """How a schedule ended in which an actor raised `error`."""
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
    (ForeignAwait, Verdict.CRASHED),
)


def _told(error: Exception, verdict: Verdict) -> tuple[str, str, str]:
    """(watcher, kind, message): who says so, what it is, and this instance of it."""
    if isinstance(error, Finding):
        return error.watcher, error.kind, error.message
    message = str(error) if isinstance(error, KsmActorsError) else f"{type(error).__name__}: {error}"
    return "run", verdict.value, message


def _where(error: Exception) -> str:
    """The function in which it shows."""
    if isinstance(error, Finding):
        return error.where
    cause = error.__cause__ if isinstance(error, WorkloadCrashed) and error.__cause__ else error
    frames = [frame.f_code for frame, _ in walk_tb(cause.__traceback__)]
    names = [code.co_name for code in frames if not code.co_filename.startswith(_MACHINERY)]
    return names[-1] if names else ""


_MACHINERY: Final = (str(Path(trio.__file__).parent), str(Path(ksmactors.interleave.__file__).parent))
"""Where an exception may be raised that belongs to the function which called in there."""


def _traceback(error: Exception, verdict: Verdict) -> str:
    """The traceback of what code raised, the workload's or ours; a verdict of ours needs none."""
    if verdict is Verdict.BROKEN or error.__cause__ is not None:
        return "".join(format_exception(error.__cause__ or error))
    return ""


def _shape(turns: list[tuple[int, int]]) -> bytes:
    """A hash over the turns: equal for equal interleavings."""
    return hashlib.blake2b(orjson.dumps(turns), digest_size=8).digest()
