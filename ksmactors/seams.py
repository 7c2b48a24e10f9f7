"""Seams: the functions of the emulated kernel that a variant may override.

Three decorators say what a function of `mm/` or `ksm/` is. They change nothing about it.

- `seam`: a function of the kernel, by the kernel's name, or a named part of one.
- `part`: a part of a kernel function that the kernel has no function for. A variant may override it. A finding names
  the kernel function around it.
- `primitive`: one operation on shared state, with the point at which the turn can pass. Algorithms call primitives;
  variants override the algorithms. A finding names the function that called it.

Functions whose names begin with an underscore are private to their class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

MARK: Final = "__kernel_part__"
"""The attribute that a marked function has: the name of its decorator."""

OVERRIDABLE: Final = frozenset({"seam", "part"})
"""The marks of what a variant may override."""


class _PassedOver(dict[str, bool]):
    """Kept for every name that was asked for: it is asked at every point."""

    def __missing__(self, name: str) -> bool:
        passed_over = self[name] = name[0] in "_<"
        return passed_over


PASSED_OVER: Final = _PassedOver()
"""By name of a function, whether reports about where an actor is name the function around it: private ones,
comprehensions, parts and primitives."""


def seam(function: F) -> F:
    """Mark a kernel function that a variant may override."""
    setattr(function, MARK, "seam")
    return function


def part(function: F) -> F:
    """Mark a part of a kernel function, without a name in the kernel, that a variant may override."""
    setattr(function, MARK, "part")
    PASSED_OVER[function.__name__] = True
    return function


def primitive(function: F) -> F:
    """Mark an operation on shared state that passes its own point. A variant may not override it."""
    setattr(function, MARK, "primitive")
    PASSED_OVER[function.__name__] = True
    return function


def mark_of(kernel: type, name: str) -> str | None:
    """Return how a kernel class, or a class that it inherits from, marks a function: "seam", "part" or "primitive".

    Returns None if there is no such function, or an unmarked one.
    """
    for cls in kernel.__mro__:
        value = vars(cls).get(name)
        for one in (getattr(value, "fget", None), getattr(value, "__func__", None), value):
            found = getattr(one, MARK, None)
            if isinstance(found, str):
                return found
    return None


def seams_of(kernel: type) -> list[str]:
    """Return the names of all functions of a kernel class that a variant may override, sorted."""
    return sorted(name for name in dir(kernel) if mark_of(kernel, name) in OVERRIDABLE)
