"""Whose fault it is if a strategy raises, or returns what it may not: that of a plug-in, or ours."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import getattr_static
from types import FunctionType

from ksmactors.call_stack import frames_of
from ksmactors.errors import EmulatorBug, KsmActorsError, StrategyFailed
from ksmactors.escaping import described, quoted
from ksmactors.failed_call import defined_at, failed_call
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.places import author_place, is_authors_class


def wrong_choice(strategy: Strategy, ready: Sequence[Actor], chosen: object) -> KsmActorsError:
    """Return the error for a strategy, or the one that it delegates to, that chose no ready actor."""
    names = ", ".join(actor.name for actor in ready)
    return wrong_answer(strategy, "choose", chosen, f"one of the ready actors ({names})")


def wrong_answer(strategy: Strategy, method: str, answer: object, wanted: str) -> KsmActorsError:
    """Return the error for a strategy, or the one that it delegates to, whose method returned something else than
    wanted."""
    while (inner := getattr(strategy, "inner", None)) is not None and not is_authors_class(type(strategy)):
        strategy = inner
    shown = getattr(answer, "name", None) or quoted(answer)
    message = f"{method} returned {shown}, and not {wanted}"
    function = getattr_static(type(strategy), method)
    if not is_authors_class(type(strategy)) or not isinstance(function, FunctionType):
        return EmulatorBug(f"the strategy {strategy.name}: {message}")
    return StrategyFailed(f"strategy {strategy.name}: {message} ({defined_at(function)})")


def named(error: Exception) -> Exception:
    """Return the error to report for what was raised where a strategy is asked outside of a schedule, before or after
    it: one that names the strategy of a plug-in whose code raised, or the error itself.

    For an `except` clause, which costs nothing where nothing is raised: this is on the way of each schedule.
    """
    return error if isinstance(error, KsmActorsError) else fault_of_strategy(error) or error


def fault_of_strategy(error: BaseException) -> StrategyFailed | None:
    """Return the error to report for an exception that the code of a plug-in's strategy raised, or led to; None if
    none did."""
    owners = [frame.f_locals.get("self") for frame in frames_of(error)]
    place = author_place(error)
    call = failed_call(error)
    if call is not None:
        owners.insert(0, getattr(call, "__self__", None))
        place = defined_at(call)
    for owner in owners:
        if isinstance(owner, Strategy) and is_authors_class(type(owner)):
            failed = StrategyFailed(f"strategy {owner.name} raised {described(error)} ({place})")
            failed.__cause__ = error
            return failed
    return None
