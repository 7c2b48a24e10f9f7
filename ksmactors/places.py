"""Whose code a line is: an error message points at the author's, not at what that called."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Final

OURS: Final = f"{Path(__file__).parent}{os.sep}"

KERNEL: Final = tuple(f"{OURS}{part}{os.sep}" for part in ("mm", "ksm", "later"))
"""The files of the emulated kernel are below one of these."""

_LIBRARIES: Final = frozenset({"trio", "anyio", "asyncio", "outcome"})

_PYTHON: Final = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib"))

_PACKAGES: Final = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("purelib", "platlib"))


@cache  # the files of a program are few, and a path takes long to take apart
def is_library(file: str) -> bool:
    """Whether a file belongs to Python or to a run loop: its caller is at fault."""
    if file.startswith(_PACKAGES):  # which may lie below Python's own
        return not _LIBRARIES.isdisjoint(Path(file).parts)
    return file.startswith(("<frozen", *_PYTHON))


def is_authors(file: str) -> bool:
    """Whether a file belongs to the author of a workload or plug-in."""
    return not file.startswith(OURS) and not is_library(file)


def is_authors_class(cls: type) -> bool:
    """Whether a class is defined in a file of an author's."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file is not None and is_authors(file)


def innermost(error: BaseException) -> FrameType:
    """The function that raised; if Python or a run loop did, the one that called it."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((one for one in reversed(frames) if not is_library(one.f_code.co_filename)), frames[-1])


def author_frames(error: BaseException, *, besides: str = "") -> list[FrameType]:
    """The functions of the author's that raised, innermost first, up to the one that ksmactors called; none if an
    exception was raised in ksmactors, but in a file whose name begins with `besides`."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][::-1]
    while besides and frames and frames[0].f_code.co_filename.startswith(besides):
        del frames[0]
    ours = (index for index, frame in enumerate(frames) if frame.f_code.co_filename.startswith(OURS))
    return [one for one in frames[: next(ours, len(frames))] if is_authors(one.f_code.co_filename)]


def caller_of_author(error: BaseException) -> str:
    """The file of ksmactors that called the author's function that raised, or that raised itself; empty if none did."""
    files = (frame.f_code.co_filename for frame, _ in list(traceback.walk_tb(error.__traceback__))[::-1])
    return next((file for file in files if file.startswith(OURS)), "")


def author_place(error: BaseException) -> str:
    """The author's line that raised, or called what raised, as `name.py:12 in run`; empty if there is none.

    A SyntaxError names its own line.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{Path(error.filename).name}:{error.lineno}"
    found = _authors_frame(error)
    if found is None:
        return ""
    frame, line = found
    name = frame.f_code.co_name
    within = "" if name == "<module>" else f" in {name}"
    return f"{Path(frame.f_code.co_filename).name}:{line}{within}"


def author_line(error: BaseException) -> str:
    """The author's line that raised, or called what raised, as `/path/to/name.py:12`; empty if there is none."""
    found = _authors_frame(error)
    return f"{Path(found[0].f_code.co_filename).absolute()}:{found[1]}" if found is not None else ""


def _authors_frame(error: BaseException) -> tuple[FrameType, int] | None:
    """The innermost function of the author's that an exception has passed through, and its line then."""
    lines = list(traceback.walk_tb(error.__traceback__))
    return next((one for one in reversed(lines) if is_authors(one[0].f_code.co_filename)), None)


def author_function(error: BaseException) -> str:
    """The author's function that raised, or called what raised; empty if there is none."""
    found = _authors_frame(error)
    return found[0].f_code.co_name if found is not None else ""
