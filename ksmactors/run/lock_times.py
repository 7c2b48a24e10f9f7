"""How long actors wait for locks and hold them, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

from ksmactors.interleave.actor import Actor


class LockTimes:
    """Waits and holds of one schedule. An observer passes on what it is notified of.

    Args:
        now: returns the virtual time in ns.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._waits: dict[Actor, tuple[object, int, str | None]] = {}
        """By actor, what it has waited for, since when at first, and who woke it last; until it does something else."""
        self._held: dict[tuple[Actor, object], tuple[int, int]] = {}
        """By holder and lock: since when it is held, and how long the holder had waited for it."""

    def blocked(self, actor: Actor, on: object) -> None:
        """An actor begins to wait, or waits again for what it was woken for."""
        if actor not in self._waits or self._waits[actor][0] is not on:
            self._waits[actor] = on, self._now(), None

    def woken(self, actor: Actor, by: str | None) -> None:
        """An actor that waits has been made ready, by another one or by its alarm."""
        if actor in self._waits:
            self._waits[actor] = *self._waits[actor][:2], by

    def did(self, actor: Actor, obj: object) -> None:
        """An actor has executed an operation on an object: if that is another one, it has given up waiting."""
        if self._waits and actor in self._waits and self._waits[actor][0] is not obj:
            del self._waits[actor]

    def acquired(self, actor: Actor, lock: object) -> tuple[int, str | None]:
        """An actor has a lock. Return how long it waited (ns), and whose release ended that."""
        now, waited, by = self._now(), 0, None
        waits = self._waits.pop(actor, None)
        if waits is not None and waits[0] is lock:
            waited, by = now - waits[1], waits[2]
        self._held[actor, lock] = now, waited
        return waited, by

    def released(self, actor: Actor, lock: object) -> tuple[int, int]:
        """An actor has given a lock back. Return how long it held the lock, and had waited for it (ns)."""
        now = self._now()
        since, waited = self._held.pop((actor, lock), (now, 0))
        return now - since, waited
