"""Where a replay has stopped, in lines: an object, the actors, the locks. And the names that a user gives to places."""

from __future__ import annotations

from collections.abc import Iterable

from ksmactors.cli.screen import echo
from ksmactors.diagnose.lookup import canonical, find, missing
from ksmactors.diagnose.moments import AtTouch, Goal, goal_of
from ksmactors.diagnose.standing import actors_of, locks_of, sleepers_of
from ksmactors.diagnose.stepping import Walker
from ksmactors.errors import UsageError
from ksmactors.escaping import escaped


def goal_named(text: str) -> Goal:
    """Return the goal that a user has named.

    Raises:
        UsageError: the text is empty.
    """
    if not text.strip():
        raise UsageError("an empty name: give a step, an object or an event")
    goal = goal_of(text.strip())
    return AtTouch(canonical(goal.name)) if isinstance(goal, AtTouch) else goal


def where(walker: Walker) -> str:
    """Return where a walk has stopped, in words."""
    moment = walker.last
    return f"step {moment.step}" if moment is not None else "the start"


def object_lines(walker: Walker, name: str) -> list[str]:
    """Return all fields of an object, a line each.

    Raises:
        UsageError: there is none of that name now.
    """
    found = find(walker, name)
    if found is None:
        raise UsageError(f"{missing(walker, name)} now; `help objects` says what there is")
    title, fields = found
    width = max((len(key) for key, _ in fields), default=0)
    return [title, *(f"  {key:<{width}}  {value}" for key, value in fields)]


def actor_lines(walker: Walker) -> list[str]:
    """Return where each actor stands, in some lines each."""
    standings = actors_of(walker)
    width = max(len(one.name) for one in standings)
    return [line for one in standings for line in one.lines(width)]


def lock_lines(walker: Walker) -> list[str]:
    """Return who holds what, and who waits for what."""
    lines = [one.line for one in locks_of(walker)] + sleepers_of(walker)
    return lines or ["no lock is held, and no actor waits"]


def say(lines: Iterable[str]) -> None:
    """Print lines, each on one line whatever is in it."""
    for line in lines:
        echo(escaped(line))
