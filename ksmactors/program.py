"""What can be run under many schedules: a name, parameters, and one coroutine for the course of a schedule.

`Workload` (for the emulated machine) and `Model` (for nothing but variables and locks) are the two kinds.
"""

from __future__ import annotations

import os
import traceback
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import isawaitable
from pathlib import Path
from types import CoroutineType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from typing_extensions import override

from ksmactors.call_stack import asking_function, is_kernels
from ksmactors.errors import Finding, KsmActorsError, UsageError, WorkloadCrashed
from ksmactors.escaping import described, quoted
from ksmactors.events.declared import PluginEvent
from ksmactors.failed_call import defined_at, failed_call
from ksmactors.marks import broken, is_true, kind_of, mark_of, named, written_in
from ksmactors.parameters import Parameter, checked, parameters_of
from ksmactors.places import (
    KERNEL,
    OURS,
    author_frames,
    author_place,
    caller_of_author,
    innermost,
    is_authors,
    is_authors_class,
)

if TYPE_CHECKING:
    from ksmactors.events.trace import Trace
    from ksmactors.interleave.conductor import Conductor
    from ksmactors.machine import Machine

SETTLING_SCANS: Final = 3
"""Full scans that ksmd makes alone before the watchers look. The first sees the contents, the second finds what has not
changed, the third joins what the second missed (spec 5)."""

T = TypeVar("T")

_PARTS: Final = ("interleave", "ksm", "later", "mm", "watch")
_EMULATOR: Final = tuple(f"{OURS}{part}{os.sep}" for part in _PARTS)
"""Where an exception is raised that is no fault of the program."""

_EVENTS: Final = f"{OURS}events{os.sep}"
"""Code that refuses wrong events of an author's, and calls listeners."""

_STRATEGIES: Final = tuple(f"{OURS}interleave{os.sep}{part}" for part in ("strategies", "turns.py"))

CALLS_PLUGINS: Final = (*(part for part in _EMULATOR if "interleave" not in part), *_STRATEGIES, _EVENTS)
"""Code that calls functions of variants, watchers and strategies, but none of the program's."""


@dataclass(frozen=True, slots=True)
class ProgramParts:
    """What one schedule takes place in: who decides who moves, where events are recorded, and how to get a machine.

    `machine` builds the machine that was asked for, its watchers attached. To be called once, by a program that
    needs one.
    """

    conductor: Conductor
    trace: Trace
    machine: Callable[[], Machine]


class Program(ABC):
    """Base of all that can be run. One object serves many schedules: what belongs to one lives in `perform`.

    Attributes:
        name, summary: what `list workloads` shows; by default the class's name and its docstring's first line.
        expect_marks: marks that some schedule of a campaign should reach, beside those of `sometimes`.
        events: the events of its own that it may emit.
        own_tasks: whether each actor runs in a trio task of its own. False is faster, and can be said by a program
            whose code uses nothing that trio keeps for each task: cancel scopes, `trio.lowlevel.current_task`, the
            owner of a `trio.Lock`. Those of `ksmactors.model.trio` do not count. The schedules are the same.

    Args:
        values: parameters by name, each as text or as a value. UsageError if a name or a value is wrong.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    expect_marks: ClassVar[tuple[str, ...]] = ()
    events: ClassVar[tuple[PluginEvent, ...]] = ()
    own_tasks: ClassVar[bool] = True

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = cls.__name__
        if "summary" not in vars(cls):
            cls.summary = (cls.__doc__ or "").strip().partition("\n")[0].rstrip(".")

    def __init__(self, **values: Any) -> None:
        vars(self).update(checked(type(self), f"workload {self.name}", values))
        self.prepare()

    def prepare(self) -> None:
        """Called once, before the first schedule: read files here; raise UsageError if they will not do."""

    @abstractmethod
    async def perform(self, setting: ProgramParts) -> None:
        """One schedule from its first step to its last: what the conductor's first actor does.

        Raises:
            WorkloadCrashed: the author's code raised (the cause is its exception). Findings and errors of the
                emulator are raised as they are.
        """

    def crashed(self, error: BaseException, place: str) -> KsmActorsError:
        """Return what ends a schedule in which the author's code raised `error` at `place`."""
        return WorkloadCrashed(f"workload {self.name} raised {described(error)} ({place})")

    @classmethod
    def marks_expected(cls) -> tuple[str, ...]:
        """The marks that some schedule of a campaign should reach: `expect_marks`, and those of each `sometimes` in its
        source."""
        return tuple(dict.fromkeys((*cls.expect_marks, *written_in(cls))))

    @classmethod
    def parameters(cls) -> list[Parameter[Any]]:
        """Its parameters, its own first."""
        return list(parameters_of(cls).values())


class Claims:
    """What code of an author says about a schedule as it runs: marks, promises and events of its own.

    A Host, a Scene and a Table have these.
    """

    _trace: Trace
    _claimed_by: ClassVar[str] = "workload"
    """What a finding of `always` names as its watcher."""

    def mark(self, name: str) -> None:
        """Say in the log that a place worth knowing about was passed."""
        self._trace.mark(mark_of(name))

    def always(self, condition: bool, text: str, *, detail: str = "") -> None:
        """Promise that a condition holds whenever this line is reached.

        Args:
            condition: what must hold.
            text: the promise, in words that are the same each time: they identify the finding.
            detail: what is particular about this time, for the message.

        Raises:
            Finding: it does not hold.
            ValueError: the condition is a coroutine that was not awaited, or the text is empty.
        """
        kind_of(text)
        if not is_true(condition):
            raise broken(self._claimed_by, text, asking_function(), detail)

    def sometimes(self, condition: bool, text: str) -> None:
        """Expect that a condition holds at this line in some schedule. If it holds, the mark `text` is passed. A
        campaign in which it never held says so.

        Args:
            condition: what should hold at some time.
            text: the mark, in words that are the same each time.

        Raises:
            ValueError: as for `always`.
        """
        if is_true(condition):
            self.mark(text)
        else:
            self._trace.note_mark(mark_of(text), passed=False)

    def emit(self, event: PluginEvent, *fields: int | str | bool | None) -> None:
        """Record an event of the workload's own, which its class lists in `events`.

        Args:
            event: the event.
            fields: the values of its fields, in their order.

        Raises:
            ValueError: it is not declared, or has other fields.
        """
        self._trace.emit_declared(event, *fields)


async def guarded(program: Program, code: Awaitable[T], *passing: type[Exception]) -> T:
    """Await an author's code; returns what it does.

    Args:
        program: what the code belongs to.
        code: what is awaited.
        passing: exceptions that are raised as they are, like our own.

    Raises:
        WorkloadCrashed: the code raised something of its own, which is the cause; or what `Program.crashed` says.
    """
    try:
        return await code
    except _control_flow():
        raise
    except BaseException as raised:  # sys.exit, too, is a crash: only ksmactors ends a campaign
        error = only_leaf(raised)
        try:
            place = "" if isinstance(error, Finding) else author_place(error)  # a finding says itself where
            if isinstance(error, UsageError) and place:
                raise type(error)(f"{error} ({place})") from error
            if isinstance(error, (KsmActorsError, *passing)):
                if error is raised:
                    raise
                raise error from error.__cause__
            if (crash := crash_of_variant(error)) is not None:
                raise crash from error
            if _is_not_programs(error):
                raise
            raise program.crashed(error, place or _place(error)) from error
        finally:
            del error  # this frame is in its traceback


def called(program: Program, function: Callable[..., Awaitable[T]], *args: object) -> Awaitable[T]:
    """Call an author's async function; return what is to be awaited.

    Args:
        program: what the function belongs to.
        function, args: what is called, and with what.

    Raises:
        WorkloadCrashed: it cannot be called with these arguments, or is not async; or what `Program.crashed` says.
    """
    try:
        code = function(*args)
    except KsmActorsError:  # a finding, say, of a function that is not async
        raise
    except (Exception, SystemExit) as error:
        call = failed_call(error)
        place = author_place(error) or (_place(error) if call is None else defined_at(call))
        raise program.crashed(error, place) from error
    if not isawaitable(code):
        name = getattr(function, "__qualname__", repr(function))
        place = defined_at(function) if isinstance(function, (FunctionType, MethodType)) else name
        raise program.crashed(TypeError(f"{name} is not async; write async def"), place)
    return code


def checked_actors(actors: Mapping[str, Coroutine[Any, Any, T]]) -> Mapping[str, Coroutine[Any, Any, T]]:
    """Return what an author has given to be run concurrently.

    Raises:
        TypeError: it is no mapping, or one of its values is no coroutine.
    """
    if not isinstance(actors, (dict, Mapping)):  # dict: asked first, and in C
        raise TypeError(f"concurrent takes actors by name, as {{'name': function()}}, not {quoted(actors)}")
    for name, actor in actors.items():
        named("the name of an actor", name)
        if not isinstance(actor, (CoroutineType, Coroutine)):
            raise TypeError(f"actor {name} is {quoted(actor)}, and no coroutine; is its function async?")
    return actors


@cache
def _control_flow() -> tuple[type[BaseException], ...]:
    """What passes through an author's code without being a failure of it. It takes trio, which lists do without."""
    from ksmactors.interleave.conductor import CONTROL_FLOW

    return CONTROL_FLOW


def _is_not_programs(error: BaseException) -> bool:
    """Whether an exception comes from the emulator, or from the code of a plug-in that the emulator called."""
    file = innermost(error).f_code.co_filename
    if file.startswith(_EVENTS):
        return failed_call(error) is not None
    return file.startswith(_EMULATOR) or (is_authors(file) and caller_of_author(error).startswith(CALLS_PLUGINS))


def only_leaf(error: BaseException) -> BaseException:
    """Return the only exception in a group, which is what its reader wants to see; a group of several, or of one that
    was never raised, as it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1 and error.exceptions[0].__traceback__:
        error = error.exceptions[0]
    return error


def crash_of_variant(error: BaseException) -> WorkloadCrashed | None:
    """The error to report for an exception that a function of a user's variant raised, or one that it called outside
    of the emulator; or whose cause is a call of such a function with other arguments than it takes."""
    call = failed_call(error)
    if call is not None and hasattr(getattr(call, "__self__", None), "kernel_name"):
        place = defined_at(call)
    elif any(map(is_kernels, author_frames(error, besides=_EVENTS))):
        place = author_place(error)
    else:
        return None
    return WorkloadCrashed(f"a variant raised {described(error)} ({place})")


def crash_under_variant(kernel: type | None, error: BaseException) -> WorkloadCrashed | None:
    """The error to report if the emulator's kernel raised, and a user's variant is in it: that has left a state which
    does not occur without it."""
    raised, variants = innermost(error).f_code, variants_in(kernel)
    if not variants or not raised.co_filename.startswith(KERNEL):
        return None
    return WorkloadCrashed(f"with the variant {variants}, {raised.co_name} raised {described(error)}")


def variants_in(kernel: type | None) -> str:
    """The names of the user's variants in the class of a kernel; "" if there are none."""
    return ", ".join(cls.__name__ for cls in kernel.__mro__ if is_authors_class(cls)) if kernel is not None else ""


def _place(error: BaseException) -> str:
    """Where an exception was raised that no author's line led to."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return f"{Path(frame.f_code.co_filename).name}:{line} in {frame.f_code.co_name}"
