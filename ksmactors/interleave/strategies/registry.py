"""Strategies by name, and the text that stands for one: `NAME` or `NAME:KEY=VALUE,...`."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Final

from ksmactors.errors import UsageError
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.pct import Pct
from ksmactors.interleave.strategies.portfolio import Portfolio
from ksmactors.interleave.strategies.pos import Pos
from ksmactors.interleave.strategies.random_walk import RandomWalk
from ksmactors.interleave.strategies.round_robin import RoundRobin

STRATEGIES: Final[dict[str, type[Strategy]]] = {cls.name: cls for cls in (Portfolio, Pos, Pct, RandomWalk, RoundRobin)}
"""Every strategy that can be asked for by name. `parameters_of(cls)` tells its parameters."""


def register(cls: type[Strategy]) -> None:
    """Add a strategy of somebody else's under its `name`.

    Raises:
        UsageError: it is no strategy, lacks something, or has the name of another one.
    """
    if not (isinstance(cls, type) and issubclass(cls, Strategy)):
        raise UsageError(f"strategy {cls!r} is no subclass of ksmactors.interleave.strategies.base.Strategy")
    missing = [what for what in ("name", "summary") if not isinstance(getattr(cls, what, None), str)]
    if inspect.isabstract(cls):
        missing.append("choose")
    if missing:
        raise UsageError(f"strategy {cls.__module__}.{cls.__qualname__} has no {' and no '.join(missing)}")
    known = STRATEGIES.setdefault(cls.name, cls)
    if known is not cls:
        raise UsageError(f"strategy {cls.name!r} of {cls.__module__} has the name of one of {known.__module__}")


def parse(text: str) -> Strategy:
    """The strategy that a text stands for.

    Raises:
        UsageError: there is no such strategy or parameter, or a value is wrong; the message lists what there is.
    """
    name, _, rest = text.partition(":")
    cls = STRATEGIES.get(name)
    if cls is None:
        raise UsageError(_unknown(name))
    return cls(**_values(text, rest))


def _unknown(name: str) -> str:
    if name == "replay":
        return "strategy replay follows a recorded schedule: use `ksmactors replay FILE`"
    near = get_close_matches(name, STRATEGIES, n=1, cutoff=0.5)
    guess = f" (did you mean {near[0]}?)" if near else ""
    return f"no strategy {name!r}{guess}; there are: {', '.join(STRATEGIES)}"


def _values(text: str, rest: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in rest.split(",") if rest else ():
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"strategy {text!r}: {pair!r} is not KEY=VALUE; write NAME:KEY=VALUE,KEY=VALUE")
        if key in values:
            raise UsageError(f"strategy {text!r}: {key} is given twice")
        values[key] = value
    return values
