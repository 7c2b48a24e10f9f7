"""Fault injection: what may go wrong on a machine, how often, and who decides.

The emulated kernel asks `inject(kind)` wherever something of a kind could fail. Without injection the answer is a
constant no. With it the answer is drawn from the choice tape, so that a schedule with faults replays like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, NamedTuple

from typing_extensions import override

from ksmactors.errors import UsageError
from ksmactors.escaping import quoted
from ksmactors.events import catalogue as ev

if TYPE_CHECKING:  # the command line shows the kinds, and should not load the rest for that
    from ksmactors.events.trace import Trace
    from ksmactors.interleave.conductor import Conductor


class Rate(NamedTuple):
    """How often a fault of a kind happens where it could: `times` in `of` cases, 1 <= times <= of."""

    times: int
    of: int

    @override
    def __str__(self) -> str:
        return f"{self.times}/{self.of}"


class Kind(NamedTuple):
    """What `--help` says of a kind, and how often it happens by default."""

    summary: str
    rate: Rate


KINDS: Final[dict[str, Kind]] = {
    "alloc_page": Kind("no frame for a fault, a copy or a migration", Rate(1, 24)),
    "alloc_rmap_item": Kind("no rmap_item for a page that ksmd looks at", Rate(1, 12)),
    "alloc_stable_node": Kind("no stable_node for a new KSM page", Rate(1, 4)),
    "alloc_stable_node_chain": Kind("no chain for a second KSM page of one content, on later kernels", Rate(1, 4)),
    "alloc_mm_slot": Kind("no mm_slot for the first MADV_MERGEABLE of a process, or its child", Rate(1, 8)),
    "alloc_anon_vma": Kind("no anon_vma for a first touch, a fork or a split", Rate(1, 24)),
    "alloc_vma": Kind("no vma for mmap, mremap, a fork or a split", Rate(1, 24)),
    "alloc_mm": Kind("no mm_struct for fork or exec", Rate(1, 8)),
    "alloc_roots": Kind("no tree roots when merge_across_nodes is first set to 0", Rate(1, 2)),
    "alloc_swap_slot": Kind("no slot on the swap device", Rate(1, 8)),
    "swap_read": Kind("the swap device cannot read a page, this time", Rate(1, 16)),
    "trylock": Kind("a page lock that was only tried is not got", Rate(1, 8)),
    "migrate": Kind("a migration backs off (-EAGAIN) with the page unmapped", Rate(1, 8)),
    "kill": Kind("a process is killed some time after it has begun a call", Rate(1, 48)),
    "freeze": Kind("a task does not move for long, whatever it holds", Rate(1, 48)),
}
"""All kinds by name. Adding one here makes it part of `all`."""

_FORM: Final = re.compile(r"(?P<kind>[a-z_]+)(?:=(?P<times>\d{1,9})/(?P<of>\d{1,9}))?")


def parse_injection(text: str) -> dict[str, Rate]:
    """What `--inject` stands for: `KIND[=A/B]`, several with commas between; `all` is every kind at its own rate.

    Later parts win, so `all,kill=1/10` has all kinds, and more kills.

    Raises:
        UsageError: there is no such kind, or a rate is not a ratio of 0 < A <= B.
    """
    rates: dict[str, Rate] = {}
    for part in text.split(",") if text else ():
        match = _FORM.fullmatch(part)
        if match is None or (part.startswith("all=")):
            raise UsageError(f"--inject {part or text}: write KIND, KIND=A/B (as trylock=1/8) or all; {_known()}")
        kind = match["kind"]
        if kind == "all":
            rates |= {name: each.rate for name, each in KINDS.items()}
            continue
        if kind not in KINDS:
            near = get_close_matches(kind, KINDS, n=2, cutoff=0.5)
            guess = f" (did you mean {' or '.join(near)}?)" if near else ""
            raise UsageError(f"no kind of fault {quoted(kind)}{guess}; {_known()}")
        rate = Rate(int(match["times"]), int(match["of"])) if match["of"] else KINDS[kind].rate
        if not 0 < rate.times <= rate.of:
            raise UsageError(f"--inject {part}: a rate A/B is a ratio of whole numbers with 0 < A <= B")
        rates[kind] = rate
    return {kind: rates[kind] for kind in KINDS if kind in rates}


def describe_injection(rates: Mapping[str, Rate]) -> str:
    """The text that `parse_injection` makes these rates of."""
    return ",".join(f"{kind}={rate}" for kind, rate in rates.items())


def help_lines() -> Iterator[str]:
    """One line for each kind: its name, its own rate and what goes wrong."""
    for name, kind in KINDS.items():
        yield f"{name} ({kind.rate}): {kind.summary}"


def _known() -> str:
    return f"there are: {', '.join(KINDS)}, all"


class Injector:
    """Decides, fault by fault, through the tape of a schedule.

    Args:
        rates: the kinds that may happen. No draw is made for any other.
    """

    def __init__(self, conductor: Conductor, trace: Trace, rates: Mapping[str, Rate]) -> None:
        self.conductor, self.trace = conductor, trace
        self.rates = dict(rates)
        self.active = False
        self.start()

    def fires(self, kind: str) -> bool:
        """Whether a fault of this kind happens here and now, to the actor that has the turn."""
        if not self.active or not self.happens(kind):
            return False
        self.tell(kind, self.conductor.turn.name)
        return True

    def happens(self, kind: str) -> bool:
        """The same for a fault that will happen later, perhaps to another actor: `tell` is called with when, and with
        which actor.

        A draw of 0 is always a fault that does not happen: it is what a schedule does not say that is drawn as 0.
        """
        rate = self.rates.get(kind) if self.active else None
        return rate is not None and self.conductor.draw(f"inject.{kind}", rate.of) >= rate.of - rate.times

    def tell(self, kind: str, victim: str) -> None:
        """Put a fault in the log."""
        self.trace.emit(ev.FAULT_INJECT, kind, victim)

    def start(self) -> None:
        """Faults of the kinds given may happen from now on, as they may from the beginning."""
        self.active = bool(self.rates)

    def stop(self) -> None:
        """No more faults until `start`: what comes now only looks at what they did, or sets something up."""
        self.active = False
