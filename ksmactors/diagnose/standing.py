"""Where things stand when a walk stops: actors, locks, trees; as lines for a person and as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

from ksmactors.diagnose.moments import ScheduleMoment
from ksmactors.diagnose.objects import LISTED_MAX, entries_of, listed, name_of_object, raw
from ksmactors.diagnose.stepping import Walker, functions_of
from ksmactors.events.terminal import PersonForm
from ksmactors.interleave.actor import DONE, NOTHING, Actor
from ksmactors.interleave.reports import holders_of, name_of
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.run.detail import describe
from ksmactors.run.story import rendered
from ksmactors.watch.probe import frame_at

INDENT: Final = " " * 10
"""What stands before the lines that belong to the one above: as wide as a step."""


@dataclass(frozen=True, slots=True)
class ActorStanding:
    """Where an actor stands.

    Attributes:
        state: running, ready, waiting, sleeping, "not started", ended; or stopped, by the end of the schedule.
        functions: those that it is in, innermost first.
        next: the operation that it does next; empty if that is not known.
        waits_for: what it waits for; `held_by` the actors that have it.
        holds: its locks, innermost last.
    """

    name: str
    cpu: int
    node: int
    state: str
    functions: tuple[str, ...] = ()
    next: str = ""
    waits_for: str = ""
    held_by: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()

    def lines(self, width: int) -> Iterator[str]:
        """As a person reads it; `width` of the column of names."""
        inside = f" in {' < '.join(self.functions)}" if self.functions else ""
        yield f"{self.name:<{width}}  node {self.node}  {self.state}{inside}"
        if self.waits_for:
            by = f", held by {', '.join(self.held_by)}" if self.held_by else ""
            yield f"{'':<{width}}  waits for {self.waits_for}{by}"
        elif self.next:
            yield f"{'':<{width}}  next: {self.next}"
        if self.holds:
            yield f"{'':<{width}}  holds {', '.join(self.holds)}"


@dataclass(frozen=True, slots=True)
class LockStanding:
    """A lock that is held or waited for: its name, the holders, whether they share it, and the waiters. What has no
    holder is a lock that was just released, a wait queue or a mailbox."""

    name: str
    held_by: tuple[str, ...]
    shared: bool
    waiters: tuple[str, ...]

    @property
    def line(self) -> str:
        """As a person reads it."""
        how = "held shared by" if self.shared else "held by"
        held = [f"{how} {', '.join(self.held_by)}"] if self.held_by else []
        waiting = [f"waited for by {', '.join(self.waiters)}"] if self.waiters else []
        return f"{self.name}: {'; '.join(held + waiting)}"


def actors_of(walker: Walker) -> list[ActorStanding]:
    """Return where each actor stands, in the order in which they were started."""
    return [_actor(walker, actor) for actor in walker.conductor.actors]


def _actor(walker: Walker, actor: Actor) -> ActorStanding:
    conductor = walker.conductor
    holds = tuple(name_of(lock) for lock in actor.locks)
    waits_for, following = "", ""
    held_by: tuple[str, ...] = ()
    functions = functions_of(reversed(actor.call_chain()))
    if actor.number in walker.gone:
        state, functions = "ended", ()
    elif walker.outcome is not None:
        state, functions = "stopped", _stopped_in(walker, actor)
    elif actor.waiting_on is not None:
        state = "sleeping" if isinstance(actor.waiting_on, tuple) else "waiting"
        waits_for = name_of(actor.waiting_on)
        held_by = tuple(holder.name for holder in holders_of(actor.waiting_on))
    elif actor is conductor.turn:
        state, functions = "running", walker.functions
    elif actor.op is NOTHING:
        state, functions = "not started", ()
    else:
        state = "ready"
    if state in ("running", "ready") and actor.op is not DONE:
        following = describe(actor.op)
    return ActorStanding(actor.name, actor.cpu, actor.node, state, functions, following, waits_for, held_by, holds)


def _stopped_in(walker: Walker, actor: Actor) -> tuple[str, ...]:
    """The innermost function of an actor at the end of the schedule."""
    defect = walker.outcome.defect if walker.outcome is not None else None
    if defect is not None and actor is walker.conductor.turn:
        return defect.functions[:1]
    place = walker.conductor.places.get(actor.number)
    return (place,) if place is not None else ()


def locks_of(walker: Walker) -> list[LockStanding]:
    """Return the locks that are held or waited for, and who else waits for what."""
    actors = walker.conductor.actors
    locks: list[object] = []
    for actor in actors:
        for lock in (*actor.locks, actor.waiting_on):
            if lock is not None and not isinstance(lock, tuple) and not any(one is lock for one in locks):
                locks.append(lock)
    return [
        LockStanding(
            name_of(lock),
            tuple(one.name for one in actors if any(held is lock for held in one.locks)),
            bool(getattr(lock, "readers", ())),
            tuple(one.name for one in actors if one.waiting_on is lock),
        )
        for lock in locks
    ]


def sleepers_of(walker: Walker) -> list[str]:
    """Return who sleeps until when, a line each."""
    return [
        f"{actor.name} sleeps until {actor.waiting_on[0] / 1_000_000:.3f} ms"
        for actor in walker.conductor.actors
        if isinstance(actor.waiting_on, tuple)
    ]


# -- trees -----------------------------------------------------------------------------------------------------------


def trees_of(kernel: Ksm) -> Iterator[str]:
    """Yield the trees of each node and migrate_nodes: an entry a line, indented by its depth, in order."""
    for nid in range(len(kernel.nodes)):
        for root in (kernel.root_stable_tree[nid], kernel.root_unstable_tree[nid]):
            yield f"{root.name}:{'' if raw(root, 'root') is not None else ' empty'}"
            for entry, depth in islice(entries_of(root), LISTED_MAX):
                yield f"{'  ' * (depth + 1)}{_entry(kernel, entry)}"
    yield f"migrate_nodes: {listed(kernel.migrate_nodes)}"


def _entry(kernel: Ksm, entry: object) -> str:
    name = name_of_object(entry)
    if isinstance(entry, StableNode):
        page = frame_at(kernel, entry.kpfn)
        on = f" on node {page.nid}" if page is not None else ""
        return f"{name} kpfn {entry.kpfn}{on}{'' if entry.alive else ', freed'}"
    if isinstance(entry, RmapItem):
        return f"{name} of {entry.mm.name} at {entry.address:#x}"
    return name


# -- moments -----------------------------------------------------------------------------------------------------------


def moment_lines(walker: Walker, moment: ScheduleMoment) -> Iterator[str]:
    """Yield what happened in a moment: the operation, then the events, as a log shows them."""
    yield f"{moment.step:>8}  {moment_text(moment)}"
    form = PersonForm()
    for record in moment.records:
        yield f"{INDENT}{form.line(*rendered(record, walker.conductor.actors)).strip()}"


def moment_text(moment: ScheduleMoment) -> str:
    """Return what an actor did, in words."""
    actor = moment.actor.name
    if moment.departed is not None:
        departed = moment.departed
        why = f"before it {describe(departed.op)}" if not departed.stuck else "where it cannot go on"
        return f"departure: {actor} is left {why}; {departed.chosen.name} runs"
    parts = [describe(moment.op)] if moment.op is not None else ["is at the end" if moment.ends else "begins"]
    function = f" in {moment.function}" if moment.function and moment.op is not None else ""
    return f"{actor} {', '.join((parts[0] + function, *moment.news))}"


def as_data(walker: Walker) -> dict[str, Any]:
    """Return where things stand, for scripts."""
    moment = walker.last
    return {
        "moment": walker.moments,
        "step": moment.step if moment is not None else 0,
        "now": moment.now if moment is not None else 0,
        "actor": moment.actor.name if moment is not None else None,
        "did": moment_text(moment) if moment is not None else None,
        "function": moment.function if moment is not None else None,
        "events": [_event(walker, record) for record in moment.records] if moment is not None else [],
        "actors": [asdict(one) for one in actors_of(walker)],
        "locks": [asdict(one) for one in locks_of(walker)],
    }


def _event(walker: Walker, record: tuple[Any, ...]) -> dict[str, Any]:
    _, event = rendered(record, walker.conductor.actors)
    return event
