"""Strategies by name, and their text form: `NAME` or `NAME:KEY=VALUE,...`.

The value of `of` is the text of another strategy and takes all that follows. NAME is a registered name, or the location
of a class: `path/to/file.py:Class` or `package.module:Class`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Final

from ksmactors.errors import UsageError, unknown
from ksmactors.interleave.search.registry import SEARCHES
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.burst import Burst
from ksmactors.interleave.strategies.default_order import DefaultOrder
from ksmactors.interleave.strategies.delay import Delay
from ksmactors.interleave.strategies.determinism import Determinism
from ksmactors.interleave.strategies.faults import named
from ksmactors.interleave.strategies.guided import Guided
from ksmactors.interleave.strategies.metrics import Metrics
from ksmactors.interleave.strategies.pct import Pct
from ksmactors.interleave.strategies.portfolio import Portfolio
from ksmactors.interleave.strategies.pos import Pos
from ksmactors.interleave.strategies.random_walk import RandomWalk
from ksmactors.interleave.strategies.recording import ChoiceRecorder
from ksmactors.interleave.strategies.round_robin import RoundRobin
from ksmactors.interleave.strategies.starvation import Starvation
from ksmactors.interleave.strategies.surw import Surw
from ksmactors.interleave.strategies.urw import Urw
from ksmactors.interleave.strategies.wrapper import Wrapper
from ksmactors.parameters import parameters_of

_OWN: Final[tuple[type[Strategy], ...]] = (
    Portfolio, Pos, Surw, Urw, Pct, Delay, RandomWalk, Burst, Starvation, Guided, RoundRobin, DefaultOrder,
    Metrics, ChoiceRecorder, Determinism,
)  # fmt: skip

STRATEGIES: Final[dict[str, type[Strategy]]] = {cls.name: cls for cls in _OWN}
"""Every strategy that can be selected by name. `parameters_of(cls)` returns its parameters."""

BUILT_IN: Final = tuple(STRATEGIES)
"""The strategies of ksmactors itself."""


def check(cls: object) -> None:
    """Check that a class can be registered.

    Raises:
        UsageError: it is no strategy, or lacks something.
    """
    if not (isinstance(cls, type) and issubclass(cls, Strategy)):
        raise UsageError(f"strategy {cls!r} is not a subclass of ksmactors.strategy.Strategy")
    missing = [what for what in ("name", "summary") if not isinstance(getattr(cls, what, None), str)]
    if inspect.isabstract(cls):
        missing.append("choose")
    if missing:
        raise UsageError(f"strategy {cls.__module__}.{cls.__qualname__} has no {' and no '.join(missing)}")


_PLACED: Final = re.compile(r"([^=,]+?:[^\W\d]\w*)(?::(.*))?", re.DOTALL)
"""The location of a class, and what follows it; a parameter that follows a registered name has an `=` there."""


def split(text: str) -> tuple[str, str]:
    """Return the name in the text of a strategy, and its parameters as text."""
    name, _, rest = text.partition(":")
    placed = None if name in STRATEGIES else _PLACED.fullmatch(text)
    return (placed[1], placed[2] or "") if placed else (name, rest)


def nested(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the parameters of a strategy, then of the one that it wraps (`of=`), and so on."""
    while text:
        name, rest = split(text)
        yield name, rest
        text = f",{rest}".partition(",of=")[2]


def renamed(text: str, rename: Callable[[str], str]) -> str:
    """Return the text of a strategy with each name in it replaced."""
    name, _ = split(text)
    rest = text[len(name) :]
    if wrapped := re.search("[:,]of=", rest):
        rest = rest[: wrapped.end()] + renamed(rest[wrapped.end() :], rename)
    return rename(name) + rest


def register(cls: type[Strategy], name: str | None = None) -> None:
    """Add a strategy, under its own name by default.

    Raises:
        UsageError: it is no strategy, lacks something, or has the name of another one.
    """
    check(cls)
    known = STRATEGIES.setdefault(name or cls.name, cls)
    if known is not cls:
        raise UsageError(f"strategy {cls.name!r} of {cls.__module__} has the name of one of {known.__module__}")


def parse(text: str) -> Strategy:
    """Return the strategy that a text selects.

    Raises:
        UsageError: there is no such strategy or parameter, or a value is wrong; the message lists what there is.
    """
    name, rest = split(text)
    cls = STRATEGIES.get(name)
    if cls is None:
        raise UsageError(_unknown(name))
    values = values_of(text, rest) if rest else {}
    try:
        strategy = cls(**values)
    except Exception as error:
        raise named(error) from error.__cause__
    if isinstance(strategy, Wrapper):
        strategy.wrap(parse(strategy.of))
    return strategy


def dealt(text: str, workloads: int) -> str:
    """Return the text of a strategy for one of several workloads, to which the seeds are dealt in turn.

    A strategy that learns across schedules of a workload needs the distance of their seeds.
    """
    name, rest = split(text)
    if name not in STRATEGIES:  # the replay of a search's schedule, or of one followed by names
        return text
    known = parameters_of(STRATEGIES[name])
    values = values_of(text, rest)
    if workloads > 1 and "of" in known and "of" in values:
        return text.removesuffix(values["of"]) + dealt(values["of"], workloads)
    if workloads == 1 or "every" not in known or "every" in values:
        return text
    return f"{name}:every={workloads}{',' if rest else ''}{rest}"


def _unknown(name: str) -> str:
    if name == "replay":
        return "strategy replay follows a recorded schedule: use `ksmactors replay FILE`"
    if name in SEARCHES:
        return f"strategy {name} goes through all schedules: use `ksmactors explore --algorithm {name}`"
    return unknown("strategy", name, STRATEGIES)


def values_of(text: str, rest: str) -> dict[str, str]:
    """Return the parameters of a strategy by name, as text; `text` is the strategy as messages show it.

    Raises:
        UsageError: `rest` is not KEY=VALUE,...
    """
    values: dict[str, str] = {}
    before, of, wrapped = f",{rest}".partition(",of=")
    pairs = before[1:].split(",") if before[1:] else []
    for pair in [*pairs, f"of={wrapped}"] if of else pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"strategy {text!r}: {pair!r} is not KEY=VALUE; write NAME:KEY=VALUE,KEY=VALUE")
        if key in values:
            raise UsageError(f"strategy {text!r}: {key} is given twice")
        values[key] = value
    return values
