"""Mutants: layers that take one small thing away (a re-check, a lock, an order of stores), by name.

They are no commits: each is one way in which the code could be wrong, and the smallest.
"""

from __future__ import annotations

from typing import Final

from ksmactors.history.mutants.barriers import BARRIERS
from ksmactors.history.mutants.before import BEFORE
from ksmactors.history.mutants.beyond import BEYOND
from ksmactors.history.mutants.follow_up import FOLLOW_UP
from ksmactors.history.mutants.guests import GUESTS
from ksmactors.history.mutants.keyhole import KEYHOLE
from ksmactors.history.mutants.later import LATER
from ksmactors.history.mutants.nodes import NODES
from ksmactors.history.mutants.stable_check import STABLE_CHECK
from ksmactors.history.mutants.unmerge import UNMERGE
from ksmactors.ksm.kernel import Ksm

MUTANTS: Final[dict[str, type[Ksm]]] = {
    **STABLE_CHECK,
    **KEYHOLE,
    **UNMERGE,
    **NODES,
    **BARRIERS,
    **FOLLOW_UP,
    **BEFORE,
    **LATER,
    **BEYOND,
    **GUESTS,
}
"""By name: the number of the case in lower case, and what is missing."""
