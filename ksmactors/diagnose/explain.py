"""What a finding is about: the two steps that met, what each held, which objects they met over, and what it looks like.

None of this is known while a schedule runs: to keep it would cost every schedule. So when something is found for the
first time its schedule is run once more, and watched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from typing_extensions import override

from ksmactors.diagnose.alike import alike
from ksmactors.diagnose.culprit import Culprit, Functions, Stretch, names
from ksmactors.diagnose.hung import HUNG_TASK, explain_hung
from ksmactors.diagnose.story import COUNTERS
from ksmactors.errors import Finding
from ksmactors.interleave.actor import DONE, NOTHING, READ, WRITE, Actor, Operation, races
from ksmactors.interleave.labels import describe_operation
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.reports import name_of
from ksmactors.interleave.schedule_string import decode
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.mm.frame import Frame
from ksmactors.quantity import quantity
from ksmactors.run.outcome import ENDED, Break, Defect, Outcome, Step
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject

REACH: Final = 4_000
"""Operations before a finding among which the two that met are looked for; the latest pair is the one wanted."""

LOOPS: Final = frozenset({"ksm_scan_thread", "ksm_do_scan"})
"""Functions that go from page to page: what was done in them before may have been about another one."""

BELOW: Final = "unrolled_run"
"""The function of trio that runs all tasks: what is seen as the caller of an actor's outermost function."""


class _Access(NamedTuple):
    """One operation, and the step at which it was done: it may have been declared long before."""

    actor: Actor
    op: Operation
    step: int
    function: str
    held: tuple[object, ...]

    def as_step(self, callers: tuple[str, ...]) -> Step:
        held = _locks_around(self.op, self.held)
        return Step(self.actor.name, self.step, self.function, describe_operation(self.op), held, callers)


class _Accesses(Observer):
    """The last operations of a schedule, and what each actor was about to do when it ended."""

    def __init__(self) -> None:
        self.done: deque[_Access] = deque(maxlen=REACH)
        self.actors: list[Actor] = []

    @override
    def spawned(self, actor: Actor | None, child: Actor) -> None:
        self.actors.append(child)

    @override
    def did(self, actor: Actor, op: Operation) -> None:
        self.done.append(self._access(actor, op))

    def _access(self, actor: Actor, op: Operation) -> _Access:
        now = max(one.step for one in self.actors)
        return _Access(actor, op, now, actor.doing if actor.place == BELOW else actor.place, tuple(actor.held))

    def last(self, turn: str) -> Iterator[_Access]:
        """The operations, latest first: the one that was under way when the schedule ended is the first."""
        for actor in self.actors:
            if actor.name == turn and actor.op is not DONE and actor.op is not NOTHING:
                yield self._access(actor, actor.op)
        yield from reversed(self.done)


async def explain(outcome: Outcome, subject: Subject) -> Outcome:
    """The outcome of a schedule that found something, its defect explained. To be awaited in trio, outside of any other
    schedule. The outcome as it was if the schedule does not come out the same a second time."""
    defect = outcome.defect
    if defect is None or not isinstance(outcome.error, Finding):
        return outcome
    explained, broken = defect, True
    if outcome.steps < subject.max_steps:  # what is found when the steps have run out is about no step in particular
        seen = await _seen_again(outcome, defect, subject)
        if seen is None:
            return outcome
        explained = seen
        broken = bool(seen.met) or seen.broke is None or seen.broke.held_until is not None
    elif defect.kind == HUNG_TASK:
        explained = await explain_hung(outcome, defect, subject)
    named = alike(explained, subject, broken=broken)
    return replace(outcome, defect=replace(explained, **named._asdict()))


async def _seen_again(outcome: Outcome, defect: Defect, subject: Subject) -> Defect | None:
    """The defect with what watching its schedule once more has shown; None: it does not come out the same."""
    finding = outcome.error
    assert isinstance(finding, Finding), "others are not explained"
    accesses, culprit = _Accesses(), Culprit(finding)
    again = await run_schedule(
        subject, outcome.seed, outcome.strategy, deciding=Replay(decode(outcome.schedule)), observing=accesses,
        on_machine=culprit.watch,
    )  # fmt: skip
    if not isinstance(again.error, Finding) or again.digest != outcome.digest:
        return None
    about, known = again.error.about, _known(accesses, again.error)
    site = culprit.site(again.error)
    met = known or (_meeting(accesses, defect.actors[0], about) if site else ())
    if met and not known and not _is_recent(met, defect.actors[0], culprit, site):
        met = ()
    finder = next(actor for actor in accesses.actors if actor.name == defect.actors[0])
    return replace(
        defect,
        functions=_functions(defect, known, (*accesses.done, *met)),
        met=tuple(access.as_step(_callers(access, culprit, site)) for access in met),
        concerns=tuple(_described(one) for one in about),
        broke=_break(culprit, finder, site),
    )


def _is_recent(met: Sequence[_Access], turn: str, culprit: Culprit, site: Functions) -> bool:
    """Whether the one that found it took its step on the way to where it found it: in a function that it is in still,
    and that is not the loop that it has come from."""
    functions = next(culprit.functions_of(*access[:3]) for access in met if access.actor.name == turn)
    inner = [frame for frame in site if frame.f_code.co_name not in LOOPS]
    return not functions or any(frame in inner for frame in functions)


def _callers(access: _Access, culprit: Culprit, site: Functions) -> tuple[str, ...]:
    """The functions around the one that an access was in, as far as the replay has kept them; of the one that was under
    way, those in which it was found."""
    functions = culprit.met.get((access.actor.number, access.step)) or culprit.functions_of(*access[:3])
    if not functions and access.function in names(site):
        functions = site
    return tuple(name for name in names(functions) if name != access.function)


def _break(culprit: Culprit, finder: Actor, site: Functions) -> Break:
    """The step that broke what was found broken, and how the actor that found it had come to it."""
    broken = culprit.broken
    found: dict[str, Any] = {}
    if site:
        found = {"finder": finder.name, "found_in": names(site), "found_after": culprit.before_the_end(finder, site)}
    if broken is not None:
        looked = culprit.looked(finder, broken.stretch) if site else None
        came_back = culprit.came_back(finder, broken.stretch) if site else None
        return Break(
            broken.held_until,
            _step(broken.stretch),
            culprit.before_the_break(broken),
            culprit.entered(broken),
            _step(looked) if looked is not None else None,
            _step(came_back) if came_back is not None else None,
            instead=tuple(_step(one) for one in broken.instead),
            **found,
        )
    visit = culprit.last_visit if not site else None
    if visit is None:
        return Break(**found)
    return Break(None, _step(visit), culprit.in_the_visit(visit))


def _step(stretch: Stretch) -> Step:
    """A stretch of the replay as a reader of the finding knows it."""
    function, *callers = names(stretch.functions) or ("",)
    op = stretch.op
    return Step(
        stretch.actor.name,
        stretch.step,
        function,
        describe_operation(op) if op is not None else "goes on",
        _locks_around(op, stretch.held),
        tuple(callers),
    )


def _locks_around(op: Operation | None, held: Sequence[object]) -> tuple[str, ...]:
    """The names of the locks that were held, without the one that the operation itself took or gave back. A page is its
    own lock; an operation on the lock names no field of it."""
    its_own = op[1] if op is not None and op[2] == "" else None
    return tuple(name_of(lock) for lock in held if lock is not its_own)


def _functions(defect: Defect, known: Sequence[_Access], done: Sequence[_Access]) -> tuple[str, ...]:
    """The function each actor was in: as the watcher says, or where it was; or, if it had come to its end, where it was
    when they met, or last."""
    by_watcher = {access.actor.name: access.function for access in known}
    latest = {access.actor.name: access.function for access in done}
    first, *others = zip(defect.actors, defect.functions, strict=True)
    return (
        by_watcher.get(*first),
        *(by_watcher.get(name, latest.get(name, at) if at == ENDED else at) for name, at in others),
    )


def _known(accesses: _Accesses, finding: Finding) -> tuple[_Access, ...]:
    """The two accesses that the watcher itself says have met."""
    return tuple(
        _Access(accesses.actors[number], op, step, place, locks) for number, step, place, op, locks in finding.met
    )


def _meeting(accesses: _Accesses, turn: str, about: Sequence[object]) -> tuple[_Access, ...]:
    """The latest two operations that race on data of what the finding is about, one of them by the actor that found it;
    earlier first. None if no two have. The host, who sets everything up and settles it at the end, does not count."""
    latest = list(accesses.last(turn))
    concerned = [one.head if isinstance(one, RmapItem) else one for one in about]
    kpfns = {one.kpfn for one in concerned if isinstance(one, StableNode)}
    objects = (access.op[1] for access in latest)
    concerned += {one.pfn: one for one in objects if isinstance(one, Frame) and one.pfn in kpfns}.values()
    by_actors = [access for access in latest if access.actor.number and _is_data(access)]
    return _latest_pair(by_actors, concerned, turn)


def _is_data(access: _Access) -> bool:
    return access.op[0] in (READ, WRITE) and access.op[2] not in COUNTERS


def _latest_pair(latest: Sequence[_Access], objects: Sequence[object], turn: str) -> tuple[_Access, ...]:
    wanted = [a for a in latest if a.op[1] is not None and any(a.op[1] is one for one in objects)]
    for place, access in enumerate(wanted):
        for earlier in wanted[place + 1 :]:
            found_it = turn in (earlier.actor.name, access.actor.name)
            if found_it and earlier.actor is not access.actor and races(earlier.op, access.op):
                return earlier, access
    return ()


def _described(one: object) -> str:
    """An object as a reader of the finding knows it."""
    if isinstance(one, StableNode):
        place = "on migrate_nodes" if one.migrating else f"of stable tree {one.nid}" if one.rb_tree else "in no tree"
        return f"stable node {one.number} {place}, kpfn {one.kpfn}{'' if one.alive else ', freed'}"
    if isinstance(one, RmapItem):
        return f"rmap_item {one.number} of {one.mm.name} at {one.address:#x}"
    if isinstance(one, Frame):
        counts = f"{quantity(one.refcount, 'reference')}, {quantity(one.mapcount, 'mapping')}"
        return f"pfn {one.pfn} on node {one.nid}, {counts}"
    return name_of(one)
