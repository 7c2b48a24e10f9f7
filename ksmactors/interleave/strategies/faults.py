"""Whose fault it is if a strategy raises, or returns what it may not: that of a plug-in, or ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import getattr_static
from types import FunctionType

from ksmactors.call_stack import frames_of
from ksmactors.errors import EmulatorBug, KsmActorsError, StrategyFailed
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
    shown = getattr(answer, "name", None) or repr(answer)
    message = f"{method} returned {shown}, and not {wanted}"
    function = getattr_static(type(strategy), method)
    if not is_authors_class(type(strategy)) or not isinstance(function, FunctionType):
        return EmulatorBug(f"the strategy {strategy.name}: {message}")
    return StrategyFailed(f"strategy {strategy.name}: {message} ({defined_at(function)})")


@contextmanager
def strategy_asked() -> Iterator[None]:
    """Name the strategy of a plug-in that raises outside of a schedule, before or after it.

    Raises:
        StrategyFailed: one did.
    """
    try:
        yield
    except KsmActorsError:
        raise
    except Exception as error:
        failed = fault_of_strategy(error)
        if failed is None:
            raise
        raise failed from error


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
            failed = StrategyFailed(f"strategy {owner.name} raised {type(error).__name__}: {error} ({place})")
            failed.__cause__ = error
            return failed
    return None
