"""What a kind of mutated files has: sound samples, how they are mutated, and what reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final

from ksmactors.errors import KsmActorsError
from tests.fuzz.commanding import Broken
from tests.fuzz.mutating import Change, mutated

FORMS: Final = (["-q"], ["--json"], [])
"""Options that say how a command answers."""


class Kind(ABC):
    """A kind of files. `place` is a directory for files of its own."""

    name: ClassVar[str]

    def __init__(self, place: Path) -> None:
        self.place = place

    @cached_property
    @abstractmethod
    def samples(self) -> list[bytes]:
        """Sound files."""

    def mutant(self, sample: int, changes: Sequence[Change]) -> bytes:
        """A mutated file."""
        return mutated(self.samples[sample % len(self.samples)], self.samples, changes)

    def feed(self, data: bytes) -> bool:
        """Have the file read; whether it was accepted."""
        path = self.place / "mutant"
        path.write_bytes(data)
        try:
            return self.read(path, data)
        except KsmActorsError as error:
            if error.exit_status == 3:
                raise Broken(str(error)) from error
            return False

    @abstractmethod
    def read(self, path: Path, data: bytes) -> bool:
        """Read it as the command that is for it does; whether it was accepted."""
