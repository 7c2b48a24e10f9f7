"""What a kernel boots on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ksmactors.events.trace import Trace
    from ksmactors.interleave.conductor import Conductor

DEFAULT_FRAMES_PER_NODE: Final = 1_000_000
"""Frames come into being when they are used, so a large node costs nothing. A round number shows in each frame
number which node it is on."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine under a kernel: what its constructors are given.

    Attributes:
        conductor: passes the turn at each operation on shared state.
        trace: records events.
        nodes: NUMA nodes, at least 1.
        frames_per_node: page frames of each node.
    """

    conductor: Conductor
    trace: Trace
    nodes: int = 2
    frames_per_node: int = DEFAULT_FRAMES_PER_NODE
