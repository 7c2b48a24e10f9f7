"""Where the kernel is, for those who report it."""

from __future__ import annotations

import sys
from typing import Final

from ksmactors import call_stack
from ksmactors.errors import Finding

STORES: Final = frozenset({"set_pte", "set_swap_pte", "set_hwpoison_pte", "ptep_set_wrprotect"})
"""Functions that only store a value: a finding names their caller."""

WRONG_MAPCOUNT: Final = ("count", "mapcount")
"""In the names of a finding about a frame: not its references are wrong, but its map count."""


def kernel_function() -> str:
    """The kernel function that the actor that has the turn is in: the innermost one with a kernel's own name.

    Operations of objects (a frame's, a tree's) and the emulator's helpers are passed over; "none" outside of all.
    """
    return call_stack.kernel_function(call_stack.callers(sys._getframe(1)), STORES)


def lifetime(what: str, message: str, *about: object) -> Finding:
    """The finding for a use of something that has been freed; `what` is the kind of object, `about` the object."""
    return Finding("lifetime", f"use_after_free_{what}", kernel_function(), message, about=about)


def misuse(kind: str, message: str, *about: object) -> Finding:
    """The finding for a link operation on something that is not in the state it needs, which is what it is `about`."""
    return Finding("structure", kind, kernel_function(), message, about=about)
