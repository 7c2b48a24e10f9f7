"""One concurrent task of the emulated machine, as the conductor sees it."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextvars import Context
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from typing_extensions import override

from ksmactors.call_stack import all_parked_frames, names, parked_frames

if TYPE_CHECKING:
    import trio

READ: Final = 0
WRITE: Final = 1
ACQUIRE: Final = 2
RELEASE: Final = 3
YIELD: Final = 4
START: Final = 5

KIND_NAMES: Final = ("read", "write", "acquire", "release", "yield", "start")

Operation: TypeAlias = tuple[int, object, object]
"""An actor's next operation: kind (READ ... START), object, and field or address in the object."""

NOTHING: Final[Operation] = (START, None, "")
"""The next operation of an actor that has not started."""

DONE: Final[Operation] = (YIELD, None, "")
"""The operation of the running actor once its observers have been notified of the last one."""

_LOOKING: Final = (READ, YIELD)


def races(one: Operation, other: Operation) -> bool:
    """Whether the order of two operations can matter: same field of the same object, and at least one is not a read."""
    return (
        one[1] is other[1]
        and one[1] is not None
        and one[2] == other[2]
        and not (one[0] in _LOOKING and other[0] in _LOOKING)
    )


class Actor:
    """An actor: its number, its next operation, what it waits for and what it holds.

    `number` is its rank in creation order and its bit in ready masks. `cpu` and `node` are labels of where it runs;
    they do not choose memory. `held` are its sleeping locks, innermost last; `spin_depth` counts its spinlocks.
    `signal_pending` ends interruptible operations. `locks`, `doing`, `place` and `step` are for observers and only
    maintained while there are any (see `observer`). `passed` counts the points of its turns before the current one.
    `stops` counts how many times in a row it could not continue at the same point. `task` and `context` belong to the
    conductor's runner.
    """

    __slots__ = (
        "context", "coroutine", "cpu", "daemon", "doing", "held", "locks", "name", "node", "number", "op", "passed",
        "place", "signal_pending", "spin_depth", "step", "stopped_at", "stops", "task", "waiting_on",
    )  # fmt: skip

    def __init__(
        self, number: int, name: str, cpu: int, node: int, daemon: bool, coroutine: Coroutine[Any, Any, None]
    ) -> None:
        self.number, self.name, self.cpu, self.node, self.daemon = number, name, cpu, node, daemon
        self.coroutine = coroutine
        self.task: trio.lowlevel.Task | None = None
        self.context: Context
        self.op: Operation = NOTHING
        self.waiting_on: object = None
        self.held: list[object] = []
        self.spin_depth = 0
        self.passed = 0
        self.stopped_at = -1
        self.stops = 0
        self.signal_pending = False
        self.locks: tuple[object, ...] = ()
        self.doing = self.place = ""
        self.step = 0

    @override
    def __repr__(self) -> str:
        return f"<Actor {self.number} {self.name}>"

    def stop(self, at: int) -> None:
        """Count that the actor cannot continue after `at` points of its own."""
        self.stops = self.stops + 1 if at == self.stopped_at else 1
        self.stopped_at = at

    def frames(self) -> Iterator[tuple[str, str, int]]:
        """Yield the functions on the actor's stack, outermost first, as (qualified name, file, line)."""
        for frame in all_parked_frames(self.coroutine):
            yield frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno

    def functions(self) -> list[str]:
        """Return the functions on the parked actor's stack, outermost first.

        Leaves out the conductor's functions and the methods of what the actor waits for: a deadlock is reported in the
        caller of `lock`, not in `lock`.
        """
        return names(parked_frames(self.coroutine, self.waiting_on))

    def call_chain(self) -> list[FrameType]:
        """Return the frames of the parked actor, outermost first, without the conductor's."""
        return parked_frames(self.coroutine)
