"""Every error the product raises, and whose fault each one is.

The exit status of the command line is an attribute of the class, so that `cli/` needs no table of its
own: 1 something was found, 2 the user's input, 3 our bug or a crashed workload, 4 inconclusive,
130 interrupted, 141 (what a shell reports for SIGPIPE) the reader of standard output has gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors import interruption
from ksmactors.escaping import encodable, quoted
from ksmactors.quantity import quantity

FOUND: Final = 1
USAGE: Final = 2
INTERNAL: Final = 3
INCONCLUSIVE: Final = 4
INTERRUPTED: Final = interruption.STATUS
CLOSED_PIPE: Final = 141


class KsmActorsError(Exception):
    """Base of everything that is reported as one line instead of a traceback."""

    exit_status: ClassVar[int] = INTERNAL


class UsageError(KsmActorsError, ValueError):
    """The user asked for something that does not exist or cannot be: says what, where, and what there is."""

    exit_status = USAGE


class PluginError(UsageError):
    """A plug-in that was asked for by name could not be loaded."""


class ScheduleFormatError(UsageError):
    """A schedule string or a finding file that is no such thing, or was damaged."""


class ScenarioError(UsageError):
    """A scenario line that cannot be carried out; the message starts with file and line number."""


class ReplayDiverged(KsmActorsError):
    """A replay met another ready set, or another draw, than the one recorded."""

    exit_status = FOUND

    def __init__(self, choice: int, step: int, expected: str, got: str) -> None:
        self.choice, self.step, self.expected, self.got = choice, step, expected, got
        super().__init__(
            f"the replay diverges at choice {choice} (step {step}): recorded {expected}, now {got}; "
            "was the schedule recorded with another workload, parameters, kernel or version?"
        )

    @override
    def __reduce__(self) -> tuple[type[ReplayDiverged], tuple[int, int, str, str]]:
        return type(self), (self.choice, self.step, self.expected, self.got)


class NotShownAgain(KsmActorsError):
    """A finding on record that does not appear again, so nothing smaller can be said about it."""

    exit_status = INCONCLUSIVE


class NotDeterministic(KsmActorsError):
    """A program did something else although all choices were the same."""

    def __init__(self, choice: int, step: int, before: str, now: str) -> None:
        self.choice, self.step, self.before, self.now = choice, step, before, now
        super().__init__(
            f"the workload is not deterministic: after the same {quantity(choice, 'choice')} (step {step}) there "
            f"was first {before}, then {now}; it must draw what is random from the host, and keep nothing between "
            "schedules"
        )

    @override
    def __reduce__(self) -> tuple[type[NotDeterministic], tuple[int, int, str, str]]:
        return type(self), (self.choice, self.step, self.before, self.now)


class CutShort(KsmActorsError):
    """A search ends a schedule since all that could follow has been seen: there is no verdict, and no need of one."""


class StepLimit(KsmActorsError):
    """A schedule ran out of steps: no verdict about it."""

    exit_status = INCONCLUSIVE


class ForeignAwait(KsmActorsError):
    """An actor awaited something that does not go through the conductor; names the place."""


class WorkloadCrashed(KsmActorsError):
    """The code of a workload raised; the cause is its exception."""


class EmulatorBug(KsmActorsError):
    """This should not happen: the emulator contradicts itself. Please report it with the replay command."""


class StrategyFailed(KsmActorsError):
    """The code of a plug-in's strategy raised (the cause is its exception), or made no valid choice."""


class WatcherFailed(KsmActorsError):
    """A watcher raised what is no finding: its own fault, and no verdict about the schedule. The cause is what it
    raised; `watcher` is its name; `place` is the line of a plug-in's, empty for one of ksmactors."""

    def __init__(self, watcher: str, raised: str, place: str = "") -> None:
        self.watcher, self.raised, self.place = watcher, raised, place
        where = f" ({place}); correct it, or leave it out" if place else "; leave it out"
        report = "" if place else ", and please report it"
        super().__init__(f"the watcher {watcher} failed: {raised}{where} with --watch{report}")

    @override
    def __reduce__(self) -> tuple[type[WatcherFailed], tuple[str, str, str]]:
        return type(self), (self.watcher, self.raised, self.place)


class Finding(KsmActorsError):
    """A watcher reports: something happened that the protocol must never let happen.

    `watcher` is the watcher, `kind` the defect in a few words joined by underscores, `where` the kernel
    function in which it shows. These three make the `signature`, `watcher/kind@where`, which is the same for the same
    defect however it was reached; `message` tells this instance. `other` is the number of the second actor
    involved and `other_step` its step, or -1. `about` are the objects concerned (a node, a page, ...), as far as
    the watcher can say; they live in the machine, and do not outlive it. `met` are the two accesses that met, earlier
    first, if the watcher knows them: each the number of its actor, its step, its function, the operation (kind, object,
    field) and the locks held. `names` are further things that it is about, by names that are the same in every replay
    (see `watch.probe`).
    """

    exit_status = FOUND

    def __init__(
        self,
        watcher: str,
        kind: str,
        where: str,
        message: str,
        *,
        other: int = -1,
        other_step: int = -1,
        about: tuple[object, ...] = (),
        names: tuple[tuple[str | int, ...], ...] = (),
    ) -> None:
        texts: Iterator[str] = (
            encodable(str(one)) for one in (watcher, kind, where, message)
        )  # a plug-in's may be any
        self.watcher, self.kind, self.where, self.message = texts
        self.signature = f"{self.watcher}/{self.kind}@{self.where}"
        self.other, self.other_step = other, other_step
        self.about, self.names = about, names
        self.met: tuple[tuple[int, int, str, tuple[int, object, object], tuple[object, ...]], ...] = ()
        super().__init__(f"{self.watcher}: {self.message}")

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_finding, (
            self.watcher, self.kind, self.where, self.message, self.other, self.other_step,
        )  # fmt: skip


def _rebuild_finding(watcher: str, kind: str, where: str, message: str, other: int, other_step: int) -> Finding:
    return Finding(watcher, kind, where, message, other=other, other_step=other_step)


LISTED_MAX: Final = 300
"""Characters of names that a message lists: a few lines of a terminal."""

_LISTS: Final = {
    "workload": "workloads", "strategy": "strategies", "variant": "variants", "commit or variant": "variants",
    "variant or commit": "variants", "watcher": "watchers", "event": "events", "commit": "commits", "case": "cases",
}  # fmt: skip
"""What `ksmactors list` calls the kinds of names."""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The one line about a name that does not exist: what is near in any case, and what there is or where it stands."""
    from difflib import get_close_matches  # an error may load it; every command loads this module

    names = list(known)
    by_case = {one.casefold(): one for one in reversed(names)}
    near = [by_case[one] for one in get_close_matches(name.casefold(), by_case, n=2, cutoff=0.5)]
    guess = f" (did you mean {' or '.join(near)}?)" if near else ""
    listed = ", ".join(names) or "none"
    if len(listed) > LISTED_MAX and what in _LISTS:
        return f"no {what} {quoted(name)}{guess}; see `ksmactors list {_LISTS[what]}`"
    return f"no {what} {quoted(name)}{guess}; there are: {listed}"


def spelled(name: str, known: Iterable[str]) -> str:
    """Return the one name that is this one in another case, if it is none itself; else the name as it is."""
    names = list(known)
    alike = [one for one in names if one.casefold() == name.casefold()]
    return alike[0] if name not in names and len(alike) == 1 else name
