"""How a short schedule goes, for a reader: who does what to what others are at, and why the turn passes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ksmactors.campaign.outcome import Defect
from ksmactors.interleave.actor import READ, WRITE, Actor, Operation
from ksmactors.interleave.labels import label_of, told
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.reports import name_of

LINES: Final = 12
"""Lines of a story; what is before is left out: the end is what it is about."""

DEEDS: Final = 5
"""Operations told in a line: the last ones of the turn."""

COUNTERS: Final = ("refcount", "lru", "lru_add_pvec", "free_list")
"""Fields that everybody is at all the time, and that tell nobody anything."""


@dataclass(slots=True)
class _Turn:
    """A stretch in which one actor moved. `end` says why somebody else moved next."""

    actor: Actor
    done: list[Operation] = field(default_factory=list)
    end: str = ""


class Chronicle(Observer):
    """Keeps what each actor does, turn by turn."""

    def __init__(self) -> None:
        self._turns: list[_Turn] = []
        self._ended: list[Actor] = []

    def did(self, actor: Actor, op: Operation) -> None:
        if not self._turns or self._turns[-1].actor is not actor:
            if self._turns:
                self._turns[-1].end = self._why(self._turns[-1].actor)
            self._turns.append(_Turn(actor))
        if op[0] in (READ, WRITE):
            self._turns[-1].done.append(op)

    def ended(self, actor: Actor) -> None:
        self._ended.append(actor)

    def _why(self, actor: Actor) -> str:
        if any(one is actor for one in self._ended):
            return "ends"
        if actor.waiting_on is not None:
            return f"waits for {name_of(actor.waiting_on)}"
        return f"is stopped before it {told(actor.op)}"

    def story(self, defect: Defect) -> tuple[str, ...]:
        """The last turns up to what was found, a line each."""
        turns = self._together()
        matters = self._shared(turns)
        lines = [_told_turn(turn, matters) for turn in turns]
        left_out = [f"(before that, {len(lines) - LINES} turns)"] if len(lines) > LINES else []
        return (*left_out, *lines[-LINES:], f"found at step {defect.step}, in {defect.functions[0]}: {defect.message}")

    def _together(self) -> list[_Turn]:
        """The turns from the first time on that an actor was stopped in favour of another."""
        stopped = [place for place, turn in enumerate(self._turns) if turn.end.startswith("is stopped")]
        return self._turns[stopped[0] :] if stopped else self._turns[-LINES:]

    @staticmethod
    def _shared(turns: Sequence[_Turn]) -> set[str]:
        """The labels of what several actors are at, and at least one writes."""
        users: dict[str, set[int]] = {}
        written = set()
        for turn in turns:
            for op in turn.done:
                label = label_of(op)
                users.setdefault(label, set()).add(turn.actor.number)
                if op[0] == WRITE:
                    written.add(label)
        return {
            label
            for label, actors in users.items()
            if len(actors) > 1 and label in written and not label.startswith(COUNTERS)
        }


def _told_turn(turn: _Turn, matters: set[str]) -> str:
    deeds = list(dict.fromkeys(told(op) for op in turn.done if label_of(op) in matters))
    if len(deeds) > DEEDS:
        deeds = ["...", *deeds[-DEEDS:]]
    parts = [*deeds, *([turn.end] if turn.end else [])]
    return f"{turn.actor.name} {', '.join(parts) or 'goes on'}"
