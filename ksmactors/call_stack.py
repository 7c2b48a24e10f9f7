"""The functions that an actor is in: the one place where call stacks are walked by function name.

Findings, data races, recorded calls and reports of blocked actors all say where an actor is by the name of a function.
Three questions are answered here.

- Which frames? `running_frames` of the actor that has the turn, `parked_frames` of another one, `callers` or the one
  `caller_of` a frame, `frames_of` an exception.
- Who is meant? `named` passes over functions that stand for their caller: private ones, parts and primitives (`seams`).
- Which kernel function? `kernel_function` of frames, innermost first: the first that is a method of a kernel and is
  not passed over.

Frames are compared by identity: a function that is called again and again has a frame for each call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterable, Iterator
from traceback import walk_tb
from types import CoroutineType, FrameType, TracebackType
from typing import Final

from ksmactors.errors import Finding
from ksmactors.places import OURS, is_authors, is_library
from ksmactors.seams import PASSED_OVER

ROOT: Final = "_supervised"
"""The outermost function of every actor (`interleave/conductor.py`)."""

CONDUCTOR: Final = ("ksmactors.interleave.", "ksmactors.trio.", "trio.")
"""Modules whose functions are no part of what an actor does: they let it wait and go on."""

ENDLESS_LOOP: Final = "endless_loop"
"""The kind of a finding about a function that loops without a step."""

NOWHERE: Final = "none"
"""The kernel function of an actor that is in none."""


def caller_of(frame: FrameType) -> FrameType:
    """Return the frame that a frame was called from. Every function of an actor has one: below are trio's."""
    assert frame.f_back is not None, "an actor's functions are called by trio"
    return frame.f_back


def callers(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame and those that it was called from, innermost first, up to the outermost function of its actor."""
    while frame is not None and frame.f_code.co_name != ROOT:
        yield frame
        frame = frame.f_back


def running_frames(waited: object = None) -> list[FrameType]:
    """Return the frames of the functions that the actor that has the turn is in, outermost first.

    The conductor's own are left out, and so are the methods of `waited`.
    """
    return [frame for frame in callers(sys._getframe(1)) if _tells(frame, waited)][::-1]


def running_functions(waited: object = None) -> list[str]:
    """Return the names of the functions that the actor that has the turn is in, as `running_frames`."""
    return names(frame for frame in callers(sys._getframe(1)) if _tells(frame, waited))[::-1]


def asking_function() -> str:
    """Return the name of the function that called the one that asks, as `running_functions` has it."""
    told = (frame for frame in callers(sys._getframe(1)) if _tells(frame, None))
    next(told)
    return next(told).f_code.co_name


def all_parked_frames(coroutine: object) -> Iterator[FrameType]:
    """Yield the frames of a coroutine that waits, outermost first, the conductor's own included."""
    while isinstance(coroutine, CoroutineType) and coroutine.cr_frame is not None:
        yield coroutine.cr_frame
        coroutine = coroutine.cr_await


def parked_frames(coroutine: object, waited: object = None) -> list[FrameType]:
    """Return the frames of the functions that a coroutine waits in, outermost first, as `running_frames`."""
    return [frame for frame in all_parked_frames(coroutine) if _tells(frame, waited)]


def frames_of(error: BaseException) -> list[FrameType]:
    """Return the frames that an exception has passed through, innermost first."""
    return [frame for frame, _ in walk_tb(error.__traceback__)][::-1]


def frames_of_finding(finding: Finding) -> list[FrameType]:
    """Return the frames that a finding has passed through, innermost first; of an endless loop those from the function
    on that loops: a timer has ended it, in whatever that had just called."""
    frames = frames_of(finding)
    while finding.kind == ENDLESS_LOOP and frames and frames[0].f_code.co_name != finding.where:
        del frames[0]
    return frames


def traceback_from(error: BaseException, wanted: Callable[[str], bool]) -> TracebackType | None:
    """Return the traceback of an exception from the first frame on whose file is wanted; all of it if none is."""
    traceback = error.__traceback__
    while traceback is not None and not wanted(traceback.tb_frame.f_code.co_filename):
        traceback = traceback.tb_next
    return traceback or error.__traceback__


def authors_traceback(error: BaseException, *, of_call: bool = False) -> TracebackType | None:
    """Return the traceback of an exception from the author's function on that ksmactors called last; the last line of
    all if there is none, or if that line is a call of an author's function that failed."""
    found, after_ours, at = None, True, error.__traceback__
    while at is not None:
        file = at.tb_frame.f_code.co_filename
        if after_ours and is_authors(file):
            found = at
        after_ours = file.startswith(OURS) or (after_ours and is_library(file))
        at = at.tb_next
    return last_traceback(error) if found is None or of_call else found


def last_traceback(error: BaseException) -> TracebackType | None:
    """Return the innermost entry of the traceback of an exception."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return at


def names(frames: Iterable[FrameType]) -> list[str]:
    """Return the names of the functions of frames, in their order."""
    return [frame.f_code.co_name for frame in frames]


def named(frame: FrameType) -> FrameType:
    """Return a frame, or the nearest caller whose function is not passed over; the outermost one if all are."""
    while PASSED_OVER[frame.f_code.co_name]:
        back = frame.f_back
        if back is None:
            break
        frame = back
    return frame


def is_kernels(frame: FrameType) -> bool:
    """Return whether a frame is of a method of an emulated kernel, a variant's included."""
    return hasattr(frame.f_locals.get("self"), "kernel_name")


def kernel_function(frames: Iterable[FrameType], besides: Container[str] = ()) -> str:
    """Return the first kernel function of some frames, innermost first, that is not passed over.

    Args:
        frames: innermost first.
        besides: names of functions that are passed over, too.

    Returns:
        Its name, or "none" if there is none.
    """
    for frame in frames:
        name = frame.f_code.co_name
        if is_kernels(frame) and not PASSED_OVER[name] and name not in besides:
            return name
    return NOWHERE


def _tells(frame: FrameType, waited: object) -> bool:
    if frame.f_globals.get("__name__", "").startswith(CONDUCTOR):
        return False
    return waited is None or frame.f_locals.get("self") is not waited
