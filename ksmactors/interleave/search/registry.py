"""The searches by name."""

from __future__ import annotations

from typing import Final

from ksmactors.interleave.search.base import Search
from ksmactors.interleave.search.bounded import Bounded
from ksmactors.interleave.search.dpor import Dpor

SEARCHES: Final[dict[str, type[Search]]] = {cls.name: cls for cls in (Dpor, Bounded)}
"""Every search that can be selected by name."""
