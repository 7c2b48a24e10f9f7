"""One concurrent task of the emulated machine, as the conductor sees it."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import CoroutineType, FrameType
from typing import Any, Final, TypeAlias

import trio
from typing_extensions import override

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
    `stops` counts how many times in a row it could not continue at the same point.
    """

    __slots__ = (
        "coroutine", "cpu", "daemon", "doing", "held", "locks", "name", "node", "number", "op", "passed", "place",
        "signal_pending", "spin_depth", "step", "stopped_at", "stops", "task", "waiting_on",
    )  # fmt: skip

    def __init__(
        self, number: int, name: str, cpu: int, node: int, daemon: bool, coroutine: Coroutine[Any, Any, None]
    ) -> None:
        self.number, self.name, self.cpu, self.node, self.daemon = number, name, cpu, node, daemon
        self.coroutine = coroutine
        self.task: trio.lowlevel.Task | None = None
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
        for frame in self._parked():
            yield frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno

    def _parked(self) -> Iterator[FrameType]:
        awaited: object = self.coroutine
        while isinstance(awaited, CoroutineType) and awaited.cr_frame is not None:
            yield awaited.cr_frame
            awaited = awaited.cr_await

    def functions(self) -> list[str]:
        """Return the functions on the parked actor's stack, outermost first.

        Leaves out the conductor's functions and the methods of what the actor waits for: a deadlock is reported in the
        caller of `lock`, not in `lock`.
        """
        return [frame.f_code.co_name for frame in self._parked() if _is_shown(frame, self.waiting_on)]

    def call_chain(self) -> list[FrameType]:
        """Return the frames of the parked actor, outermost first, without the conductor's."""
        return [frame for frame in self._parked() if _is_shown(frame, None)]


def running_frames(waited: object = None) -> list[FrameType]:
    """Return the frames of the running actor, outermost first, without the conductor's and without the methods of
    `waited`."""
    frames = []
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "_supervised":
        if _is_shown(frame, waited):
            frames.append(frame)
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    return frames[::-1]


def running_functions(waited: object = None) -> list[str]:
    """Return the names of the functions on the running actor's stack, as `running_frames`."""
    return [frame.f_code.co_name for frame in running_frames(waited)]


_OURS: Final = (str(Path(__file__).parent), str(Path(trio.__file__).parent))


def _is_shown(frame: FrameType, waited: object) -> bool:
    if frame.f_code.co_filename.startswith(_OURS):
        return False
    return waited is None or frame.f_locals.get("self") is not waited
