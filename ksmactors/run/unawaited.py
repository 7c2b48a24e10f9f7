"""Operations that an author forgot to await: Python would warn once a place, where the output may be thrown away."""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from pathlib import Path
from types import CoroutineType, TracebackType
from typing import Any, Final, Self

from ksmactors.errors import WorkloadCrashed
from ksmactors.interleave.conductor import Conductor
from ksmactors.places import is_authors

_HOOK: Final = "_warn_unawaited_coroutine"
"""What Python calls in `warnings` for a coroutine that was never awaited. A filter would have to be set for each
schedule, and each time Python would forget which warnings it has shown."""

_under_way: Final[list[Unawaited]] = []
"""That of the schedule under way, if one is."""

_shown: Final[dict[Any, Any]] = {}
"""The warnings that were shown, as `warnings` keeps them."""


class Unawaited:
    """Takes note of the coroutines of a schedule that were dropped before they began, until the schedule is over and
    what is left of it is closed. To be entered around the schedule."""

    __slots__ = ("_conductor", "_dropped")

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._dropped: list[tuple[str, str, int]] = []
        """The name, file and line of each. It is the line at which Python dropped it, which may be in ksmactors if a
        variable held it."""

    def __enter__(self) -> Self:
        _under_way.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _under_way.pop()

    def note(self, coroutine: CoroutineType[Any, Any, Any], file: str, line: int) -> bool:
        """Take note of one; False if the schedule is over, and this is cleaning up."""
        if self._conductor.over:
            return False
        self._dropped.append((coroutine.__qualname__, file, line))
        return True

    def crash(self) -> WorkloadCrashed | None:
        """Return the error for a schedule in which nothing else went wrong; None without one."""
        if not self._dropped:
            return None
        name, file, line = self._dropped[0]
        place = f"{Path(file).name}:{line}: " if is_authors(file) else ""
        return WorkloadCrashed(f"{place}{name!r} was never awaited")

    def warn(self) -> None:
        """Warn of them as Python does, where the schedule has ended for another reason."""
        for name, file, line in self._dropped:
            with suppress(RuntimeWarning):  # where warnings are errors, what ended the schedule says more
                warnings.warn_explicit(f"{name!r} was never awaited", RuntimeWarning, file, line, registry=_shown)


def _install() -> None:
    """Have Python tell the schedule under way, and its own function where there is none."""
    before = getattr(warnings, _HOOK, None)

    def note(coroutine: CoroutineType[Any, Any, Any]) -> None:
        frame = sys._getframe(1)
        noted = bool(_under_way) and _under_way[-1].note(coroutine, frame.f_code.co_filename, frame.f_lineno)
        if not noted and before is not None:
            before(coroutine)

    setattr(warnings, _HOOK, note)


_install()
