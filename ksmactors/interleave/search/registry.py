"""The searches by name."""

from __future__ import annotations

from typing import Final

from ksmactors.interleave.search.base import Search
from ksmactors.interleave.search.bounded import BoundedSearch
from ksmactors.interleave.search.dpor import Dpor

SEARCHES: Final[dict[str, type[Search]]] = {cls.name: cls for cls in (Dpor, BoundedSearch)}
"""Every search that can be asked for by name."""
