"""How much work a file may ask for that nobody has vouched for: steps of the replay, and the size of parameters.

A few hundred bytes can name the largest workload and a recording without an end. What it would take to replay that is
not in the file, so the file must say when it is much, and is refused before anything runs unless the user trusts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ksmactors.interleave.strategies.replay import steps_believed
from ksmactors.run.header import Header

STEPS_MAX: Final = 50_000
"""Steps of a replay, on a machine of few nodes: a few seconds. Built-in workloads take up to 10,000."""

NODES_TOGETHER: Final = 16
"""Nodes from which on a machine may take fewer steps: at the start of each scan ksmd visits all of them in one."""

PARAMETER_MAX: Final = 1 << 20
"""A number given for a parameter. Built-in workloads declare less, but for the rounds that their actors go through."""


def ceiling(nodes: int) -> int:
    """The most steps of a replay on a machine with so many nodes."""
    return STEPS_MAX // (1 + nodes // NODES_TOGETHER)


def steps_said(nodes: int) -> int:
    """Steps from which on a schedule says in its header how many it took: a replay may take as many again."""
    return ceiling(nodes) // 2


def must_say(steps: int, choices: int, nodes: int) -> bool:
    """Whether the header of such a schedule says how many steps it took."""
    return steps > min(steps_said(nodes), steps_believed(choices))


def excess(header: Header) -> Iterator[str]:
    """What a header asks for that is much, each in words that go on after "the finding"."""
    if header.steps > (most := steps_said(header.nodes)):
        yield f"says that it took {header.steps:,} steps; above {most:,} a replay takes long"
    for name, text in header.params.items():
        if _number(text) > PARAMETER_MAX:
            shown = text if len(text) <= 40 else f"{text[:40]}..."
            yield f"asks for -p {name}={shown}; above {PARAMETER_MAX:,} a workload may take much time and memory"


def _number(text: str) -> int:
    """The size of a number as a parameter is given it; 0 for another text."""
    try:
        return abs(int(text))
    except ValueError:
        return 0
