"""Recording: every choice in words, for authors of strategies.

A schedule string has only the chosen actor; this also has the ready set and each actor's next operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import UsageError
from ksmactors.files import append
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.labels import describe_operation
from ksmactors.interleave.strategies.wrapper import Wrapper
from ksmactors.parameters import FilePath
from ksmactors.quantity import quantity


class ChoiceRecorder(Wrapper):
    """Writes down each choice. From Python: `lines` has those of the schedule, also without a file."""

    name: ClassVar[str] = "recording"
    summary: ClassVar[str] = "another strategy, with every choice written to a file in words"
    to = FilePath(None, "file to append the choices to; none by default")

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self.lines: list[str] = []

    @override
    def concluded(self) -> Mapping[str, int]:
        if self.to is not None:
            try:
                append(self.to, "".join(f"{line}\n" for line in self.lines).encode(errors="replace"))
            except OSError as error:
                raise UsageError(f"strategy recording: {self.to} cannot be written ({error.strerror})") from None
        return super().concluded()

    @override
    def chose(self, ready: Sequence[Actor], current: Actor | None, chosen: Actor) -> None:
        others = "; ".join(f"{actor.name} {describe_operation(actor.op)}" for actor in ready if actor is not chosen)
        self.lines.append(f"step {self.stage.step}: {chosen.name} {describe_operation(chosen.op)}, not {others}")

    @override
    def kept(self, ready: Sequence[Actor], current: Actor, points: int) -> None:
        self.lines.append(f"step {self.stage.step}: {current.name} has continued for {quantity(points, 'choice')}")
