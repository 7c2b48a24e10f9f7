"""Flags declare themselves: who observes hears of every look and every change."""

from __future__ import annotations

from ksmactors.interleave.actor import RELEASE, YIELD, Actor
from ksmactors.interleave.observed import ObservedField
from ksmactors.interleave.observer import Observer
from tests.helpers.directed import Stage, perform


class Heard(Observer):
    """What is touched, and by which function."""

    def __init__(self) -> None:
        self.touches: list[tuple[str, int, object]] = []

    def touched(self, actor: Actor, kind: int, obj: object, field: object) -> None:
        self.touches.append((actor.doing, kind, field))


async def marks_dirty(s: Stage) -> None:
    """Look at a flag, and change it."""
    page = s.frame(await s.process("A", 1), 0)
    heard = Heard()
    s.conductor.observe(heard)
    page.dirty = not page.dirty
    assert heard.touches == [("marks_dirty", YIELD, "dirty"), ("marks_dirty", RELEASE, "dirty")]


def test_looks_and_changes_are_told() -> None:
    """By the name of the function that looked, not of the flag's own."""
    perform(marks_dirty, watchers=())


def test_the_class_has_the_flag_itself() -> None:
    """Asked of the class, it is the descriptor."""

    class Lamp:
        lit = ObservedField[bool]()

    assert isinstance(Lamp.lit, ObservedField)
    assert (Lamp.lit.name, Lamp.lit.slot) == ("lit", "_lit")
