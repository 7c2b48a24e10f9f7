"""Findings and errors of the conductor: deadlock, sleeping under a spinlock, wrong unlock, foreign await, step
limit."""

from __future__ import annotations

from collections.abc import Sequence

from ksmactors.call_stack import running_functions
from ksmactors.errors import Finding, ForeignAwait, StepLimit
from ksmactors.interleave.actor import Actor
from ksmactors.places import is_authors, is_library


def wait_cycle(me: Actor) -> list[Actor]:
    """Return the wait cycle that `me` has just closed, or [].

    Checked whenever an actor blocks, because daemons that go on would hide a deadlock of the others.
    """
    seen = {me.number}
    paths = [[me]]
    while paths:
        path = paths.pop()
        for holder in holders_of(path[-1].waiting_on):
            if holder is me:
                return path
            if holder.number not in seen and holder.waiting_on is not None:
                seen.add(holder.number)
                paths.append([*path, holder])
    return []


def holders_of(waited: object) -> list[Actor]:
    """Return the actors that must go on before a waiter can run: the owner of a lock, or all its readers; or the actor
    that will wake the waiters of a queue, if that is known."""
    owner = getattr(waited, "owner", None) or getattr(waited, "waker", None)
    return [owner] if isinstance(owner, Actor) else list(getattr(waited, "readers", ()))


def idle(actor: Actor) -> bool:
    """Whether the actor is a daemon that waits for work."""
    return actor.daemon and bool(getattr(actor.waiting_on, "idle", False))


def deadlock(stuck: Sequence[Actor], turn: Actor) -> Finding:
    """Report the waits-for graph of `stuck`; `turn` is the running actor, which detected it."""
    edges = [f"{a.name} waits for {name_of(a.waiting_on)}{_held_by(a.waiting_on)}" for a in stuck]
    inside = {_innermost(running_functions(a.waiting_on) if a is turn else a.functions()) for a in stuck}
    return Finding("deadlock", "deadlock", "+".join(sorted(inside)), f"no actor can run: {'; '.join(edges)}")


def sleeping_under_spinlock(me: Actor, on: object) -> Finding:
    """Report that the running actor was about to sleep while it holds a spinlock."""
    message = f"{me.name} may have to sleep on {name_of(on)} while it holds a spinlock"
    return Finding("lock_order", "sleeping_under_spinlock", _innermost(running_functions(on)), message)


def not_owner(me: Actor, lock: object) -> Finding:
    """Report that the running actor releases a lock that it does not hold."""
    message = f"{me.name} releases {name_of(lock)}{_held_by(lock) or ', which is free'}"
    return Finding("lock_order", "released_by_another", _innermost(running_functions(lock)), message)


def foreign_await(me: Actor) -> ForeignAwait:
    """Report that the running actor awaits something that is not the conductor's: what, and where."""
    frames = list(me.frames())
    files = [file for _, file, _ in frames]
    own = max(
        [index for index, file in enumerate(files) if is_authors(file)]
        or [index for index, file in enumerate(files) if not is_library(file)],
        default=0,
    )
    awaited = frames[own + 1][0] if own + 1 < len(frames) else "something"
    function, file, line = frames[own]
    return ForeignAwait(
        f"{me.name} awaits {awaited} in {function} ({file}:{line}), which does not go through the conductor: "
        "use the operations of ksmactors (sleep, locks, mailboxes, `from ksmactors.model import trio`) instead"
    )


def no_end(steps: int, *, spinner: Actor | None = None) -> StepLimit:
    """Report that the schedule reached its step limit; `spinner` is the running actor if it only waits in a loop."""
    if spinner is None:
        return StepLimit(f"no end after {steps} steps (livelock, or a larger --max-steps is needed)")
    return StepLimit(f"no end after {steps} steps: {spinner.name} spins in {_innermost(running_functions())}")


def _innermost(functions: Sequence[str]) -> str:
    """The innermost function that is not private to its class, if there is one."""
    return next((name for name in reversed(functions) if name[0] != "_"), functions[-1] if functions else "?")


def name_of(waited: object) -> str:
    """Return the name of a lock, mailbox or timer."""
    if isinstance(waited, tuple):
        return "its alarm"
    return str(getattr(waited, "name", waited))


def _held_by(waited: object) -> str:
    names = ", ".join(holder.name for holder in holders_of(waited))
    how = "held by" if getattr(waited, "waker", None) is None else "which is up to"
    return f" {how} {names}" if names else ""
