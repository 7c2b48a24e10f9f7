"""How much work an untrusted file may ask for: steps of the replay, and the size of parameters.

A few hundred bytes can name the largest workload and an endless recording. The cost of a replay cannot be derived from
the file, so the file must state it when it is large. It is then refused before anything runs unless the user trusts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ksmactors.interleave.strategies.replay import steps_believed
from ksmactors.quantity import quantity
from ksmactors.run.header import Header

STEPS_MAX: Final = 50_000
"""Steps of a replay on a machine of few nodes: a few seconds. Built-in workloads take up to 10,000."""

NODES_TOGETHER: Final = 16
"""Nodes above which the step limit shrinks: at the start of each scan ksmd visits all nodes in one step."""

PARAMETER_MAX: Final = 1 << 20
"""A number given for a parameter. Built-in workloads declare less, except for the rounds of their actors."""


def ceiling(nodes: int) -> int:
    """Return the most steps of a replay on a machine with so many nodes."""
    return STEPS_MAX // (1 + nodes // NODES_TOGETHER)


def steps_said(nodes: int) -> int:
    """Return the steps above which a schedule's header has their number: a replay may take as many again."""
    return ceiling(nodes) // 2


def must_say(steps: int, choices: int, nodes: int) -> bool:
    """Whether the header of such a schedule must have the number of its steps."""
    return steps > min(steps_said(nodes), steps_believed(choices))


def excess(header: Header) -> Iterator[str]:
    """Yield the excessive demands of a header, each as a predicate of "the finding"."""
    if header.steps > (most := steps_said(header.nodes)):
        yield f"records {quantity(header.steps, 'step')}; a replay of more than {most:,} takes long"
    for name, text in header.params.items():
        if _number(text) > PARAMETER_MAX:
            shown = text if len(text) <= 40 else f"{text[:40]}..."
            yield f"asks for -p {name}={shown}; above {PARAMETER_MAX:,} a workload may take much time and memory"


def _number(text: str) -> int:
    """Return the number in a parameter's text; 0 for another text."""
    try:
        return abs(int(text))
    except ValueError:
        return 0
