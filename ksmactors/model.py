"""Models: small concurrent programs without a machine, to judge strategies by and to think with.

    from ksmactors.model import Model, Table

    class Lost(Model):
        name = "lost"
        summary = "two workers count without a lock"

        async def run(self, table: Table) -> None:
            count = table.variable("count", 0)

            async def worker() -> None:
                await count.write(await count.read() + 1)

            await table.concurrent({"worker/1": worker(), "worker/2": worker()})
            table.check(count.value == 2, "lost_update", f"two workers counted to {count.value}")

Each operation on a variable or a lock is one point: others may move before it is done, and nowhere else. What is
wrong is said by `table.check`; a deadlock is found by itself.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from typing_extensions import override

from ksmactors.call_stack import asking_function
from ksmactors.errors import Finding
from ksmactors.events.catalogue import Field
from ksmactors.events.declared import PluginEvent
from ksmactors.interleave.actor import READ, WRITE
from ksmactors.interleave.concurrent import run_concurrently
from ksmactors.interleave.locks import Mutex
from ksmactors.marks import check_draw
from ksmactors.parameters import Bool, FilePath, Int, Str
from ksmactors.program import Claims, Program, ProgramParts, called, checked_actors, guarded

if TYPE_CHECKING:
    from ksmactors import trio  # see __getattr__
    from ksmactors.interleave.conductor import Conductor

__all__ = [
    "Bool", "Field", "FilePath", "Int", "Model", "Mutex", "PluginEvent", "Str", "Table", "Variable", "trio",
]  # fmt: skip

T = TypeVar("T")


def __getattr__(name: str) -> Any:
    """Import `trio` when it is asked for: trio itself takes half of the time in which all workloads can be listed."""
    if name != "trio":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ksmactors import trio

    return trio


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class Variable(Generic[T]):
    """A variable that actors share. `value` is what it holds; looking at that is no operation."""

    __slots__ = ("_conductor", "name", "value")

    def __init__(self, conductor: Conductor, name: str, value: T) -> None:
        self._conductor, self.name, self.value = conductor, name, value

    async def read(self) -> T:
        """Its value. Others may move before it is read."""
        await self._conductor.point(READ, self)
        return self.value

    async def write(self, value: T) -> None:
        """Give it a value. Others may move before it is written."""
        await self._conductor.point(WRITE, self)
        self.value = value


class Table(Claims):
    """What a model is played on: variables and locks, and the one part in which its actors interleave."""

    _claimed_by: ClassVar[str] = "model"

    def __init__(self, setting: ProgramParts, program: Program) -> None:
        self._conductor, self._trace, self._program = setting.conductor, setting.trace, program

    def variable(self, name: str, value: T) -> Variable[T]:
        """A new variable that holds `value`."""
        return Variable(self._conductor, name, value)

    def mutex(self, name: str) -> Mutex:
        """A new lock."""
        return Mutex(self._conductor, name)

    async def step(self) -> None:
        """An operation on nothing: others may move before it is done, and it does not matter to any."""
        await self._conductor.point(READ, None)

    def draw(self, label: str, n: int) -> int:
        """A number in 0..n-1 from the choice tape; `label` says what for."""
        check_draw(label, n)
        return self._conductor.draw(label, n)

    def check(self, holds: bool, kind: str, message: str) -> None:
        """Convict the model if something does not hold: `kind` names the defect, `message` tells this instance.

        Raises:
            Finding: it does not hold.
        """
        if not holds:
            raise Finding("model", kind, asking_function(), message)

    async def concurrent(self, parts: Mapping[str, Coroutine[Any, Any, None]]) -> None:
        """Run actors concurrently, by name, until all have ended.

        All reach their first operation before any of them does it, and no other actor takes part.
        """
        await run_concurrently(self._conductor, checked_actors(parts), partial(guarded, self._program))

    meet = concurrent
    """Alias for existing workloads."""


class Model(Program):
    """Base of models, see `Program`; `run` is what an author writes."""

    @abstractmethod
    async def run(self, table: Table) -> None:
        """One schedule: create what is shared, let actors meet, check what came of it."""

    @override
    async def perform(self, setting: ProgramParts) -> None:
        await guarded(self, called(self, self.run, Table(setting, self)))
