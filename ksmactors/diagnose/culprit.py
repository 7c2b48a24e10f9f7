"""The step that broke it: a replay in which what broke is asked after each step.

State is legitimately wrong in the middle of an operation. So the step that is wanted is the one after which the promise
never held again. Where what is wrong is a sum (references that were taken and not given back), each actor has its own:
what one of them owes for a while does not hide what another one never pays.

What an actor does between two calls of the conductor is one stretch: it belongs to the operation that it declared at
the first of them, and to the functions that it was in there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from sys import _getframe
from types import CodeType, FrameType
from typing import Final, NamedTuple, TypeAlias

from typing_extensions import override

from ksmactors.call_stack import callers, frames_of_finding
from ksmactors.diagnose.taken import IN_PASSING, Taken
from ksmactors.errors import Finding
from ksmactors.interleave.actor import Actor, Operation
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import SpinLock
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.observer_hub import unobserved
from ksmactors.ksm.kernel import Ksm
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.reports import STORES
from ksmactors.seams import PASSED_OVER
from ksmactors.watch.base import Watcher
from ksmactors.watch.probe import Name, Probe, address_space, name_of, names_of, of_operation, place_of

Functions: TypeAlias = tuple[FrameType, ...]
"""The kernel functions that an actor is in, innermost first. As frames, since one may be called again and again."""

REACH: Final = 4_000
"""Steps that touch what broke which are kept, the latest."""

PASSED: Final = 1_024
"""Places of each actor that are kept, the latest: enough for some visits of a page."""


LATEST: Final = 4
"""Functions that an actor has returned from which are named, the latest."""


class Stretch(NamedTuple):
    """What an actor did between two calls of the conductor; `on` names what of what broke it is on."""

    actor: Actor
    step: int
    op: Operation | None
    functions: Functions
    held: tuple[object, ...]
    on: Name = ()


class Broken(NamedTuple):
    """The stretch that broke it for good, the last step at which it held, where its actor had been just before, the
    functions that it was in at the end of this stretch and not at its beginning, and the stretches that may have broken
    it instead."""

    held_until: int
    stretch: Stretch
    passed: tuple[Functions, ...]
    entered: Functions
    instead: tuple[Stretch, ...] = ()


class Culprit(Observer):
    """Asks, throughout the replay of a schedule that has found something, whether what was found broken is broken yet.

    It changes nothing: observers are detached while it asks.
    """

    def __init__(self, finding: Finding) -> None:
        self._finding = finding
        self._names = frozenset(names_of(finding))
        self._met = {(number, step, op[0], str(op[2])) for number, step, _, op, _ in finding.met}
        self.met: dict[tuple[int, int], Functions] = {}
        """The functions of the two accesses that the watcher says have met, by number of the actor and step."""
        self._kernel: Ksm | None = None
        self._conductor: Conductor | None = None
        self._probe: Probe | None = None
        self._known: dict[CodeType, bool] = {}
        self._modules: frozenset[str] = frozenset()
        self._seen: dict[Name, object] = {}
        self._op: Operation | None = None
        self._at: dict[int, Functions] = {}
        """By number of the actor, the functions that it was in when it was last heard of."""
        self._wrong = self._asked_at = 0
        self._owed: dict[int, int] = {}
        """By number of the actor, its own share of what is wrong."""
        self._broken: dict[int, list[Broken]] = {}
        """By number of the actor (of a fact that is no sum, of any): what broke it, as far as it was not mended since;
        of a sum, for each unit of it."""
        self._mended: dict[int, tuple[int, Broken | None]] = {}
        """When it was mended last, and what had broken it."""
        self._taken: dict[int, Taken[Broken]] = {}
        """By number of the actor, the references that it took and put, if it is about these."""
        self.touched_by: deque[Stretch] = deque(maxlen=REACH)
        """The stretches that touch what broke, earliest first."""
        self._passed: dict[int, deque[Functions]] = {}
        self._place = place_of(finding)
        self._at_place: deque[Stretch] = deque(maxlen=REACH)
        """The stretches in which a function works on the page of a process that the finding is about."""

    def watch(self, machine: Machine) -> None:
        """The machine of the replay is there."""
        kernel = machine.kernel
        self._kernel, self._conductor = kernel, machine.conductor
        machine.conductor.observe(self)
        kernel.declare_fields()
        self._modules = frozenset(cls.__module__ for cls in type(kernel).__mro__)
        watchers = [one for one in machine.watchers if isinstance(one, Watcher) and one.name == self._finding.watcher]
        probes = (one.probe(self._finding) for one in watchers)
        self._probe = next(filter(None, probes), None) or of_operation(kernel, self._finding, self._seen)

    # -- what the replay tells ----------------------------------------------------------------------------------------

    @override
    def did(self, actor: Actor, op: Operation) -> None:
        self._op = op
        self._meet(actor, op)

    @override
    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        self._op = (kind, obj, field)
        self._meet(actor, self._op)

    field = touched

    def _meet(self, actor: Actor, op: Operation) -> None:
        if (actor.number, actor.step, op[0], str(op[2])) in self._met:
            self.met[actor.number, actor.step] = self._at.get(actor.number, ())

    @override
    def arrived(self, actor: Actor) -> None:
        conductor, kernel = self._conductor, self._kernel
        op, self._op = self._op, None
        if conductor is None or kernel is None:
            return
        number = actor.number
        if op is not None and (name := self._concerned(op)):
            self.touched_by.append(self._stretch(actor, op)._replace(on=name))
        if self._probe is not None:
            self._ask(actor, op, self._probe)
        functions = self._functions()
        if self._place is not None and any(is_at(frame, *self._place) for frame in functions):
            self._at_place.append(Stretch(actor, conductor.step, op, functions, ()))
        self._at[number] = functions
        passed = self._passed.setdefault(number, deque(maxlen=PASSED))
        if functions and not (passed and passed[-1] == functions):
            passed.append(functions)

    def _ask(self, actor: Actor, op: Operation | None, probe: Probe) -> None:
        conductor = self._conductor
        assert conductor is not None
        with unobserved(conductor):
            answer = probe.wrong()
        wrong = self._wrong if answer is None else int(answer)
        if wrong != self._wrong:
            owner = actor.number if probe.adds_up else 0
            before = self._owed.get(owner, 0)
            now = self._owed[owner] = before + wrong - self._wrong
            self._wrong = wrong
            if probe.of_references:
                self._match(actor, op, now - before)
            debts = self._broken.setdefault(owner, [])
            if before * now < 0:
                debts.clear()
            while len(debts) > (abs(now) if probe.adds_up else now != 0):
                self._mended[owner] = conductor.step, debts.pop(self._paid(debts, actor))
            if (now and not debts) or (probe.adds_up and len(debts) < abs(now)):
                broken = self._at_fault(owner, actor, op)
                debts += [broken] * (abs(now) - len(debts) if probe.adds_up else 1)
        self._asked_at = conductor.step

    def _match(self, actor: Actor, op: Operation | None, taken: int) -> None:
        """References were taken, or put where the number is negative."""
        references, here = self._taken.setdefault(actor.number, Taken()), self._change(actor, op)
        note = references.take if taken > 0 else references.put
        for _ in range(abs(taken)):
            note(here.stretch.functions, here, here.stretch.step)

    def _paid(self, debts: Sequence[Broken], actor: Actor) -> int:
        """Which of the debts of an actor it has paid: the one that was made nearest to where it is now.

        That is the one with the most functions that the actor is in still, and the fewest that it has returned from. Of
        those that were made in calls of the same function, which have returned, it is the latest: what an earlier call
        has left behind is not what the caller pays for now.
        """
        here = {*self._at.get(actor.number, ()), *self._functions()}
        near = []
        for place, one in enumerate(debts):
            frames = dict.fromkeys((*one.entered, *one.stretch.functions))
            left = [frame for frame in frames if frame not in here]
            called = left[-1].f_code if left else None
            near.append((len(frames) - len(left), -len(left), place, called))
        still_in, _, _, function = max(near, key=lambda one: one[:3])
        return max(place for number, _, place, called in near if number == still_in and called is function)

    def _at_fault(self, owner: int, actor: Actor, op: Operation | None) -> Broken:
        """What has broken it now: this; unless it was mended in passing only, by an operation that is half done."""
        assert self._conductor is not None
        step, before = self._mended.pop(owner, (0, None))
        if before is not None and self._conductor.step - step <= IN_PASSING and before.stretch.actor is actor:
            return before
        return self._change(actor, op)

    def _change(self, actor: Actor, op: Operation | None) -> Broken:
        stretch = self._stretch(actor, op)
        entered = tuple(frame for frame in self._functions() if frame not in stretch.functions)
        return Broken(self._asked_at, stretch, tuple(self._passed.get(actor.number, ())), entered)

    def _stretch(self, actor: Actor, op: Operation | None) -> Stretch:
        assert self._conductor is not None
        return Stretch(actor, self._conductor.step, op, self._at.get(actor.number, ()), tuple(actor.held))

    def _concerned(self, op: Operation) -> Name:
        """What an operation is on of what the finding is about; empty if it is on something else. Objects of the replay
        are known by their first use."""
        _, obj, field = op
        name: Name | None
        if isinstance(obj, AddressSpace) and isinstance(field, int):
            name = ("place", obj.number, field)
        elif obj is self._kernel:
            name = ("kernel", str(field))
        elif isinstance(obj, SpinLock):
            name = next((("mm", mm.number) for mm in self._address_spaces() if mm.page_table_lock is obj), None)
            obj = None
        else:
            name = name_of(obj)
        if name is None or name not in self._names:
            return name if obj is None and name is not None else ()
        if obj is not None:
            self._seen[name] = obj
        return name

    def _address_spaces(self) -> Iterator[AddressSpace]:
        """Those that the finding is about, in whole or in part."""
        assert self._kernel is not None
        for number in dict.fromkeys(int(name[1]) for name in names_of(self._finding) if name[0] in ("mm", "place")):
            mm = address_space(self._kernel, number)
            if mm is not None:
                yield mm

    # -- the functions of the kernel ----------------------------------------------------------------------------------

    def _functions(self) -> Functions:
        """The kernel functions that are running, innermost first. Parts and primitives (`seams`) are passed over."""
        return tuple(frame for frame in callers(_getframe(2)) if self._is_kernel_function(frame))

    def _is_kernel_function(self, frame: FrameType) -> bool:
        code = frame.f_code
        known = self._known.get(code)
        if known is None:
            name = code.co_name
            known = self._known[code] = (
                not PASSED_OVER[name]
                and frame.f_globals.get("__name__") in self._modules
                and hasattr(type(self._kernel), name)
                and name not in STORES
            )
        return known

    # -- what came of it ----------------------------------------------------------------------------------------------

    @property
    def broken(self) -> Broken | None:
        """What broke it for good; None: it held until the finding, or there is no question."""
        too_few = self._probe is not None and self._probe.too_few
        sign = 1 if self._wrong > 0 and not too_few else -1
        owing = [number for number, owed in self._owed.items() if owed * sign > 0]
        if sign < 0 and self._taken:
            breaking = [one for number in owing for one in self._put_too_often(number)]
        else:
            breaking = [one for number in owing for one in self._broken[number]]
        return max(breaking, key=lambda one: one.held_until, default=None)

    def _put_too_often(self, number: int) -> list[Broken]:
        """The puts of an actor that were one too many."""
        extra = self._taken[number].extra()
        return [one._replace(instead=tuple(other.stretch for other in others)) for one, others in extra]

    def site(self, error: Finding) -> Functions:
        """The kernel functions that the replay was in when it found the same, innermost first."""
        return tuple(frame for frame in frames_of_finding(error) if self._is_kernel_function(frame))

    def before_the_break(self, broken: Broken) -> tuple[str, ...]:
        """The kernel functions that the actor that broke it had returned from just before."""
        stretch = broken.stretch
        touching = [one for one in self.touched_by if one.actor is stretch.actor and one.step <= stretch.step]
        at_place = [one for one in self._at_place if one.actor is stretch.actor and one.step <= stretch.step]
        return _returned(stretch.functions, at_place, touching, broken.passed)

    def entered(self, broken: Broken) -> tuple[str, ...]:
        """The functions that the actor that broke it entered in that stretch, unless what it did there says enough."""
        op, here = broken.stretch.op, names(broken.stretch.functions)
        if op is not None and self._concerned(op):
            return ()
        return tuple(name for name in names(broken.entered) if name not in here)

    def before_the_end(self, actor: Actor, functions: Functions) -> tuple[str, ...]:
        """The kernel functions that an actor had returned from when the schedule ended, and it was in `functions`."""
        touching = [one for one in self.touched_by if one.actor is actor]
        at_place = [one for one in self._at_place if one.actor is actor]
        return _returned(functions, at_place, touching, self._passed.get(actor.number, ()))

    def in_the_visit(self, visit: Stretch) -> tuple[str, ...]:
        """The kernel functions that were called in a visit of what broke, each once, the latest: by the function in
        which the finding says that it should have been mended, or by the outermost but one."""
        inside, where = [frame.f_code.co_name for frame in visit.functions], self._finding.where
        by = visit.functions[inside.index(where) if where in inside else max(0, len(inside) - 2)]
        passed = self._passed.get(visit.actor.number, ())
        called = dict.fromkeys(name for place in passed for name in _inside({by}, place)[:1])
        return tuple(called)[-2 * LATEST :]

    def functions_of(self, actor: Actor, op: Operation, step: int) -> Functions:
        """The functions in which an actor did an operation on what broke, at a step or when the turn came back to it;
        none if it was not done before the end."""
        done = (one.functions for one in self.touched_by if one.step >= step and one.actor is actor and one.op == op)
        return next(done, ())

    def looked(self, actor: Actor, broken: Stretch) -> Stretch | None:
        """The last stretch in which an actor touched what broke before another actor broke it: the very object that the
        breaking step is on, if it ever did."""
        return next(reversed([one for one in self._touches(actor, broken) if one.step <= broken.step]), None)

    def came_back(self, actor: Actor, broken: Stretch) -> Stretch | None:
        """The first stretch in which an actor touched that object again after another actor had broken it."""
        return next((one for one in self._touches(actor, broken) if one.step > broken.step), None)

    def _touches(self, actor: Actor, broken: Stretch) -> list[Stretch]:
        """The stretches in which an actor touched what another actor broke, earliest first."""
        if broken.actor is actor:
            return []
        touches = [one for one in self.touched_by if one.actor is actor and one.functions]
        name = self._concerned(broken.op) if broken.op is not None else ()
        return [one for one in touches if name and one.on == name] or touches

    @property
    def last_visit(self) -> Stretch | None:
        """The last stretch in which what broke was touched in a kernel function."""
        return next((one for one in reversed(self.touched_by) if one.functions), None)


def _returned(
    functions: Functions, at_place: Sequence[Stretch], touching: Sequence[Stretch], passed: Iterable[Functions]
) -> tuple[str, ...]:
    """The functions that an actor has returned from since it came to where it is, each once.

    First those that touched what broke, as it called them: all that were at the very page of the process that it is
    about; or else those that had its address, and those that were called from here, and by these. Then the latest of
    all.
    """
    live = set(functions)
    here = {frame.f_code.co_name for frame in functions}
    places = [one.functions for one in touching if one.on[0] == "place" and live.intersection(one.functions)]
    near, touches = [one.functions for one in at_place], [one.functions for one in touching]
    trails: list[tuple[Iterable[Functions], int | None]] = [(near, None), (touches, 1), (touches, 2)]
    trails = [(places, None)] if places else trails
    found: dict[str, None] = {}
    for trail, depth in (*trails, (passed, None)):
        latest: dict[str, None] = {}
        for place in trail:
            for name in _inside(live, place)[:depth]:
                latest.pop(name, None)
                latest[name] = None
        found |= dict.fromkeys([name for name in latest if name not in here][-LATEST:])
    return tuple(found)


def is_at(frame: FrameType, number: int, address: int) -> bool:
    """Whether a function works on a page of a process: it has the address, and the address space or a vma of it."""
    values = frame.f_locals
    if values.get("address") != address:
        return False
    mm = values.get("mm") or getattr(values.get("vma"), "mm", None)
    return isinstance(mm, AddressSpace) and mm.number == number


def _inside(live: Container[FrameType], place: Functions) -> list[str]:
    """The functions of a place that were called from the innermost one that is live, outermost first; none if no one
    is."""
    inside: list[str] = []
    for frame in place:
        if frame in live:
            return inside[::-1]
        inside.append(frame.f_code.co_name)
    return []


def names(functions: Sequence[FrameType]) -> tuple[str, ...]:
    """The names of functions, each once, innermost first."""
    return tuple(dict.fromkeys(frame.f_code.co_name for frame in functions))
