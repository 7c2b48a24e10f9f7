"""The packages that registered names come from: recorded with a finding, and compared where it is replayed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ksmactors import plugins
from ksmactors.errors import ScheduleFormatError, UsageError
from ksmactors.interleave.strategies.registry import nested
from ksmactors.run.header import is_text

OWN: Final = "ksmactors "
"""What the origin of this package begins with."""

PACKAGES_MAX: Final = 1_000
"""Names of plug-ins that a finding may list."""

Named = tuple[str, str]
"""A group of plug-ins, and a name in it."""


def named_in(content: Mapping[str, Any], strategy: str) -> Iterator[Named]:
    """Yield the names in the header of a schedule (`Subject.header`) and in the text of a strategy."""
    yield "workloads", content["workload"]
    yield from (("variants", name) for name in (*content["with"], *content["without"]))
    yield from (("watchers", name) for name in content["watch"])
    yield from (("strategies", name) for name, _ in nested(strategy))


def packages_of(named: Iterable[Named]) -> dict[str, str]:
    """Return the package and version of each name that another package has registered, by kind and name."""
    found = {f"{plugins.title_of(group)} {name}": plugins.origin_of(group, name) for group, name in sorted({*named})}
    return {name: origin for name, origin in found.items() if origin and not origin.startswith(OWN)}


def recorded_packages(content: Mapping[str, Any]) -> dict[str, str]:
    """Return what a finding file says about packages.

    Raises:
        ScheduleFormatError: it is malformed.
    """
    found = content.get("plugins", {})
    if (
        not isinstance(found, dict)
        or len(found) > PACKAGES_MAX
        or not all(is_text(one) for pair in found.items() for one in pair)
    ):
        raise ScheduleFormatError("the finding's plugins must be names with the package of each")
    return found


def compare_packages(named: Iterable[Named], recorded: Mapping[str, str]) -> list[str]:
    """Compare the packages on record with those that are installed here; returns a line for each that differs.

    Raises:
        UsageError: one is not installed here.
    """
    lines = []
    for group, name in dict.fromkeys(named):
        title = f"{plugins.title_of(group)} {name}"
        then, now = recorded.get(title), plugins.origin_of(group, name)
        if then is not None and not now:
            raise UsageError(f"the finding was made with the {title} of {then}, which is not installed here")
        if then is not None and now != then:
            lines.append(f"the {title} is that of {now}; the finding was made with that of {then}")
    return lines


def rivals_of(named: Iterable[Named], built_in: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a line for each name that several have: which one is used, and how to name the others.

    Args:
        named: the names.
        built_in: those that ksmactors itself has, by group, beside the registered ones.
    """
    lines = []
    for group, name in dict.fromkeys(named):
        found = plugins.registered(group, name)
        ours = name in built_in.get(group, ())
        used, others = ("ksmactors", found) if ours else (found[0].origin, found[1:]) if found else ("", [])
        lines += [
            f"{plugins.title_of(group)} {name}: that of {used} is used; {other.origin} has one of this name, too: name "
            f"it {other.place}"
            for other in others
        ]
    return lines
