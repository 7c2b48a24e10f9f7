"""Names for what code under test shares: what its author calls it."""

from __future__ import annotations

import linecache
import re
import sys
from functools import lru_cache
from typing import Final

from ksmactors.call_stack import callers
from ksmactors.interleave.conductor import current_conductor
from ksmactors.places import is_authors
from ksmactors.trio.tasks import tables

_ASSIGNED: Final = re.compile(r"\s*(?:\w+\.)*(\w+)\s*(?:,.*|:[^=]*)?=[^=]")
"""A line that assigns to a name or an attribute; of several, the first is taken."""


def name_of_new(kind: str) -> str:
    """Return a name for an object that is being made: that of the variable or attribute on the author's line, else its
    kind; numbered if the schedule has one of that name already."""
    frames = callers(sys._getframe(1))
    place = next(((one.f_code.co_filename, one.f_lineno) for one in frames if is_authors(one.f_code.co_filename)), None)
    name = _assigned(*place) if place is not None else ""
    return tables().numbered(name or kind) if current_conductor() is not None else name or kind


@lru_cache(1 << 10)
def _assigned(file: str, line: int) -> str:
    found = _ASSIGNED.match(linecache.getline(file, line))
    return found[1].strip("_") if found else ""
