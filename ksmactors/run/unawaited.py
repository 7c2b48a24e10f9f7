"""Operations that an author forgot to await: Python would warn once a place, where the output may be thrown away."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CoroutineType
from typing import Any, Final

from ksmactors.errors import WorkloadCrashed
from ksmactors.places import is_authors

_HOOK: Final = "_warn_unawaited_coroutine"
"""What Python calls in `warnings` for a coroutine that was never awaited. A filter would have to be set for each
schedule, and each time Python would forget which warnings it has shown."""

_shown: Final[dict[Any, Any]] = {}
"""The warnings that were shown, as `warnings` keeps them."""


@dataclass(slots=True)
class Unawaited:
    """The coroutines of a schedule that were dropped before they began: the name, file and line of each.

    The line is that at which Python dropped it, which may be in ksmactors if a variable held it.
    """

    dropped: list[tuple[str, str, int]] = field(default_factory=list)

    def crash(self) -> WorkloadCrashed | None:
        """Return the error for a schedule in which nothing else went wrong; None without one."""
        if not self.dropped:
            return None
        name, file, line = self.dropped[0]
        place = f"{Path(file).name}:{line}: " if is_authors(file) else ""
        return WorkloadCrashed(f"{place}{name!r} was never awaited")

    def warn(self) -> None:
        """Warn of them as Python does, where the schedule has ended for another reason."""
        for name, file, line in self.dropped:
            with suppress(RuntimeWarning):  # where warnings are errors, what ended the schedule says more
                warnings.warn_explicit(f"{name!r} was never awaited", RuntimeWarning, file, line, registry=_shown)


@contextmanager
def unawaited(is_over: Callable[[], bool]) -> Iterator[Unawaited]:
    """Take note of coroutines that are dropped, until the schedule is over and what is left of it is closed."""
    found = Unawaited()
    before = getattr(warnings, _HOOK, None)

    def note(coroutine: CoroutineType[Any, Any, Any]) -> None:
        if not is_over():
            frame = sys._getframe(1)
            found.dropped.append((coroutine.__qualname__, frame.f_code.co_filename, frame.f_lineno))
        elif before is not None:
            before(coroutine)

    setattr(warnings, _HOOK, note)
    try:
        yield found
    finally:
        setattr(warnings, _HOOK, before)
