"""Where the kernel is, for those who report it."""

from __future__ import annotations

import sys

from ksmactors.errors import Finding


def kernel_function() -> str:
    """The kernel function that the actor that has the turn is in: the innermost one with a kernel's own name.

    Operations of objects (a frame's, a tree's) and the emulator's helpers are passed over; "none" outside of all.
    """
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_name
        if hasattr(frame.f_locals.get("self"), "kernel_name") and name[0] not in "_<":
            return name
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    return "none"


def lifetime(what: str, message: str) -> Finding:
    """The finding for a use of something that has been freed; `what` is the kind of object."""
    return Finding("lifetime", f"use_after_free_{what}", kernel_function(), message)


def misuse(kind: str, message: str) -> Finding:
    """The finding for a link operation on something that is not in the state it needs."""
    return Finding("structure", kind, kernel_function(), message)
