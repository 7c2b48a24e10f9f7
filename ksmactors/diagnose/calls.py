"""The calls into the kernel that a schedule makes, and at which places their actors come by: read off the stack at each
point of a schedule that is run again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final

from typing_extensions import override

from ksmactors.call_stack import running_frames
from ksmactors.conformance.places import Visits, places
from ksmactors.interleave.actor import YIELD, Actor
from ksmactors.interleave.schedule_string import Departure
from ksmactors.interleave.strategies.base import Stage
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame

KERNEL: Final = ("ksmactors.mm", "ksmactors.ksm", "ksmactors.later", "ksmactors.history")
"""The modules whose functions are the kernel's."""

SCAN: Final = "ksm_do_scan"
VISIT: Final = "scan_get_next_rmap_item"

CALLS: Final = frozenset({
    "mmap", "munmap", "madvise", "mremap", "mlock", "fork", "mmput", "move_pages", "migrate_frame", "sysfs_store",
    "user_read", "user_write", "fault", "offline_pages", "online_pages", "try_to_free_pages", "get_user_pages",
    "pin_user_pages", "prctl_set_memory_merge", "shrink_list", "swapoff", SCAN,
})  # fmt: skip
"""Functions of the kernel that are called from outside of it."""


@dataclass(eq=False, slots=True)
class Call:
    """One call: its function with its arguments, who made it, and what it went through. `top`
    is where the next mapping of its address space would have gone when it began (bytes)."""

    name: str
    arguments: dict[str, Any]
    actor: Actor
    frame: FrameType
    kernel: Ksm
    top: int = 0
    moments: list[Moment] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    """When each of its operations was done, as an index into the operations of the whole schedule."""
    blocked_after: set[int] = field(default_factory=set)
    """Indices of moments after which it had to wait."""
    scan: int = 0
    """The number of the full scan in which it began."""
    child: int | None = None
    """The number of the address space that a fork makes."""
    mapped: tuple[AddressSpace, int] | None = None
    """Who maps the page that is migrated when it begins, and where; None if it is not mapped."""
    faulted: bool = False
    """Whether an access is waiting for its page fault to be over."""
    counted: dict[str, tuple[Visits, list[object]]] = field(default_factory=dict)
    """By place: what tells its visits, and those that are not over."""

    def absorb(self, other: Call) -> None:
        """What another call did is a part of this one, which is not over."""
        self.blocked_after |= {len(self.done) + index for index in other.blocked_after}
        if self.done and other.done and self.done[-1] + 1 < other.done[0]:
            self.blocked_after.add(len(self.done) - 1)
        self.moments += other.moments
        self.done += other.done
        self.faulted = other.name == "fault"


@dataclass(eq=False, slots=True)
class Moment:
    """An operation that is about to be done: the places that are visited by it, and whether sleeping is forbidden."""

    call: Call | None
    places: tuple[str, ...]
    atomic: bool
    what: str


class CallRecorder(ReplayByName):
    """Follows departures exactly, and records calls and places until a step is reached."""

    def __init__(self, departures: Sequence[Departure], until: int) -> None:
        super().__init__(departures, slack=0)
        self.until = until
        self.calls: list[Call] = []
        self.first: Ksm | None = None
        self._declared: dict[int, Moment] = {}
        self._latest: dict[int, Call] = {}
        self._last: Actor | None = None
        self.operations = 0
        """How many were done, by all actors."""

    @property  # type: ignore[explicit-override]  # mypy does not see it on a property with a setter
    @override
    def stage(self) -> Stage:
        """The conductor; its points come by here."""
        return self._stage

    @stage.setter
    def stage(self, stage: Stage) -> None:
        self._stage = stage
        conductor: Any = stage
        plain: Callable[..., Awaitable[None]] = conductor.point

        def point(kind: int, obj: object, field: object = "") -> Awaitable[None]:
            if not conductor.over and conductor.turn is not None and conductor.step < self.until:
                self._declare(conductor.turn, kind, obj, field)
            return plain(kind, obj, field)

        conductor.point = point

    def _declare(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        """An actor that has the turn is about to do something: what it declared before is done."""
        last = self._last
        if last is not None and last is not actor and last.waiting_on is not None:
            self._did(last, blocked=True)
        self._did(actor)
        self._last = actor
        frames = [frame for frame in running_frames() if frame.f_globals["__name__"].startswith(KERNEL)]
        call = self._call_of(actor, frames)
        visited = self._visited(call, frames, (kind, obj, field)) if call is not None else ()
        what = frames[-1].f_code.co_name if frames else ""
        moment = Moment(call, visited, bool(actor.spin_depth), what)
        self._declared[actor.number] = moment
        if call is not None:
            call.moments.append(moment)

    def _did(self, actor: Actor, *, blocked: bool = False) -> None:
        moment = self._declared.pop(actor.number, None)
        if moment is None:
            return
        self.operations += 1
        if moment.call is not None:
            moment.call.done.append(self.operations)
            if blocked or actor.op[0] == YIELD:
                moment.call.blocked_after.add(len(moment.call.done) - 1)

    def _call_of(self, actor: Actor, frames: Sequence[FrameType]) -> Call | None:
        """The call that an actor is in, a new one if it has just begun."""
        frame = next((frame for frame in frames if frame.f_code.co_name in CALLS), None)
        if frame is None:
            return None
        name, begun = frame.f_code.co_name, frame
        if name == SCAN:
            visit = next((one for one in frames if one.f_code.co_name == VISIT), None)
            before = self._latest.get(actor.number)
            if visit is None and before is not None and before.name == VISIT:
                return before
            name, begun = VISIT, visit or frame
        known = self._latest.get(actor.number)
        if known is not None and known.frame is begun:
            return known
        values = dict(begun.f_locals)
        kernel = values.pop("self")
        self.first = self.first or kernel
        mm = values.get("mm")
        call = Call(name, values, actor, begun, kernel, top=getattr(mm, "top", 0), scan=kernel.ksm_scan.seqnr)
        if name == "fork":
            call.child = len(kernel.address_spaces)  # it has been made, and locks come first
        elif name == "migrate_frame":
            call.mapped = _mapper(kernel, [values["page"]])
        elif name == "offline_pages":
            call.mapped = _mapper(kernel, [kernel.pfn_to_page(pfn) for pfn in values["pfns"]])
        self._latest[actor.number] = call
        self.calls.append(call)
        return call

    def _visited(self, call: Call, frames: Sequence[FrameType], op: tuple[int, object, object]) -> tuple[str, ...]:
        """The places that a call comes to with this operation, and has not left since it came there."""
        visited = []
        for name, place in places().items():
            visits, seen = call.counted.setdefault(name, (Visits(place), []))
            visit = visits.entered(frames, op)
            seen[:] = [one for one in seen if not visits.left(one, frames, op)]
            if visit is not None and all(one is not visit for one in seen):
                seen.append(visit)
                visited.append(name)
        return tuple(visited)


def _mapper(kernel: Ksm, pages: Sequence[Frame]) -> tuple[AddressSpace, int] | None:
    """An address space that maps one of some pages, and where."""
    for mm in kernel.address_spaces:
        for address, pte in mm.ptes.items():
            if not pte.migration and any(pte.frame is page for page in pages):
                return mm, address
    return None
