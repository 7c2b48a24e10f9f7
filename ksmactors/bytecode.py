"""Compiled files that Python cannot read: one that was cut short raises EOFError, which looks like an interruption.

This module is imported before others that may be damaged, so it imports nothing of ours.
"""

from __future__ import annotations

import os


def damaged_bytecode(error: BaseException) -> str:
    """Return what to say about the compiled file that Python could not read when an exception was raised; empty if it
    was raised elsewhere.

    A variable of importlib's own is looked at: nothing else has the name of the file.
    """
    from traceback import walk_tb  # an error may load it

    path = error.path if isinstance(error, ImportError) else None  # of what is no code; importlib's frames are removed
    for frame, _ in walk_tb(error.__traceback__):
        path = frame.f_locals.get("bytecode_path") if frame.f_code.co_name == "_compile_bytecode" else path
    if path is None or f"{os.sep}__pycache__{os.sep}" not in path:
        return ""
    return f"the compiled file {path} is damaged; delete it, and Python makes a new one"
