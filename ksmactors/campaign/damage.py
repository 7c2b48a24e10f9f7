"""What is wrong with a damaged store, in words of its own and not of the libraries that stumble over it."""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path
from typing import Final

import orjson

from ksmactors.quantity import quantity

REMEDY: Final = "restore a copy of it, or run the campaign again with another --out"

_HEADER: Final = 100
"""Bytes of the header of an SQLite file."""


def what_is_damaged(error: Exception, path: Path) -> str:
    """Return what an exception says about a store: that it is cut off, or which part of it cannot be read."""
    if isinstance(error, sqlite3.Error):
        return cut_off(path) or _in_pages(str(error))
    if isinstance(error, orjson.JSONDecodeError):
        return "a text in it is not JSON"
    if isinstance(error, UnicodeError):
        return "a text in it is not UTF-8"
    if isinstance(error, zlib.error):
        return "packed data in it cannot be unpacked"
    if isinstance(error, LookupError | TypeError | AttributeError | OverflowError):
        return "a record in it lacks a part, or has one of another type"
    return str(error)


def _in_pages(words: str) -> str:
    if "schema" in words:
        return "the definitions of its tables are damaged"
    if "UTF-8" in words:
        return "a text in it is not UTF-8"
    if words.startswith("no such"):
        return f"it has {words.replace('such ', '').replace(':', '')}"
    if words == "interrupted":
        return "a query of it does not end: its pages form a cycle"
    return "its pages are damaged" if words in _DAMAGED else f"SQLite cannot read it ({words})"


_DAMAGED: Final = ("database disk image is malformed", "file is not a database")


def cut_off(path: Path) -> str:
    """Return how much of a store is left, if it is shorter than its header says; else nothing."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
        size = path.stat().st_size
    except OSError:
        return ""
    page = int.from_bytes(header[16:18], "big")
    whole = (65_536 if page == 1 else page) * int.from_bytes(header[28:32], "big")
    if len(header) == _HEADER and size >= whole:
        return ""
    of = f" of {quantity(whole, 'byte')}" if len(header) == _HEADER else ""
    return f"it is cut off: {size:,}{of} are left" if of else f"it is cut off after {quantity(size, 'byte')}"
