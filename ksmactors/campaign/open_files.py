"""Files that foreign code has open in a worker: a worker ends at once, and what they hold is written first."""

from __future__ import annotations

import gc
import io
import sys
from contextlib import suppress


def flush_open_files() -> None:
    """Write what all open files of this process hold, but for its standard streams.

    To be called before a fork, so that no child writes it again, and before a process ends without the interpreter's
    own end.
    """
    standard = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    for one in gc.get_objects():
        if issubclass(type(one), io.IOBase) and not any(one is stream for stream in standard):
            with suppress(Exception):  # a closed one, a full disk, or a class of a plug-in's
                one.flush()
