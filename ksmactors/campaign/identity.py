"""What a store is a campaign of: two campaigns with one identity agree in every schedule of the same seed."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any, Final

from ksmactors.campaign.dealing import EQUAL, strategies_of
from ksmactors.errors import UsageError
from ksmactors.escaping import shortened
from ksmactors.run.extensions import need_strategy
from ksmactors.run.packages import named_in, packages_of
from ksmactors.run.subject import Subject
from ksmactors.run.trust import sources_of_strategy

_ORDER: Final = ("ksmactors", "subjects", "strategy", "budget")
"""What is compared first: it says most to a person."""

_SHOWN: Final = 80
"""Characters of a value in a message."""


def identity(subjects: Sequence[Subject], strategy: str, budget: str = EQUAL) -> dict[str, Any]:
    """Return what decides about a campaign's schedules beside their seeds, as JSON has it.

    Raises:
        UsageError: there is no such strategy.
    """
    need_strategy(strategy)  # a file's hash is that of what was loaded
    return {
        "ksmactors": version("ksmactors"),
        "subjects": [subject.header() for subject in subjects],
        "sources": [[source.sha256 for source in subject.sources] for subject in subjects],
        "strategy": strategy,
        "strategy_files": [source.sha256 for source in sources_of_strategy(strategy)],
        "budget": budget,
        "strategies": [strategy] if budget == EQUAL else list(strategies_of(strategy)),
        "plugins": packages_of(one for subject in subjects for one in named_in(subject.header(), strategy)),
        "code": source_hash(),
    }


@cache
def source_hash() -> str:
    """Return a hash over the source of ksmactors and the built-in workloads: it may change without the version."""
    hashed = hashlib.blake2b(digest_size=16)
    for package in ("ksmactors", "workloads"):
        root = next(iter(import_module(package).__path__))
        for folder, folders, files in os.walk(root):
            folders.sort()
            for name in sorted(name for name in files if name.endswith(".py")):
                file = f"{folder}{os.sep}{name}"
                with open(file, "rb", buffering=0) as source:  # noqa: PTH123  # half of the time that a Path takes
                    hashed.update(f"{package}{file.removeprefix(root)}\0".encode() + source.read())
    return hashed.hexdigest()


def made_with(subjects: Sequence[Subject]) -> dict[str, Any]:
    """Return what decides about nothing: versions, for a person who compares rates, where the files were, and the marks
    that are expected."""
    return {
        "python": platform.python_version(),
        "trio": version("trio"),
        "machine": platform.machine(),
        "files": [[[source.file, source.sha256] for source in subject.sources] for subject in subjects],
        "marks": [[subject.name, mark] for subject in subjects for mark in subject.marks_expected()],
    }


def refuse_another(now: Mapping[str, Any], then: Mapping[str, Any], where: str, advice: str) -> None:
    """Refuse a store of another campaign. `advice` says what to do then.

    Raises:
        UsageError: it is one, and the first thing in which they differ.
    """
    for key in dict.fromkeys([*_ORDER, *sorted({*now, *then})]):
        if now.get(key) != then.get(key):
            before, after = _difference(key, then.get(key), now.get(key))
            other = f"{where} holds another campaign: its {before}, not {after}"
            raise UsageError(f"{other}; {advice}")


def _difference(key: str, then: Any, now: Any) -> tuple[str, str]:
    """The first difference in words: that of a subject by its name."""
    if key == "subjects" and isinstance(then, list) and isinstance(now, list):
        names = [[one.get("workload") for one in side if isinstance(one, dict)] for side in (then, now)]
        if names[0] != names[1]:
            return f"workloads are {_shown(' '.join(map(str, names[0])))}", _shown(" ".join(map(str, names[1])))
        for before, after in zip(then, now, strict=False):
            for name in sorted({*before, *after}):
                if before.get(name) != after.get(name):
                    return f"{name} is {_shown(before.get(name))}", _shown(after.get(name))
    if key == "plugins" and isinstance(then, dict) and isinstance(now, dict):
        name = next(name for name in sorted({*then, *now}) if then.get(name) != now.get(name))
        origins = (side.get(name, "ksmactors itself") for side in (then, now))
        before, after = map(_shown, origins)
        return f"{_shown(name)} is that of {before}", f"that of {after}"
    if key in ("sources", "strategy_files"):
        return "files had another content", "that of now"
    if key == "code":
        return "schedules are those of another state of ksmactors", "those of this one"
    return f"{key} is {_shown(then)}", _shown(now)


def _shown(value: Any) -> str:
    return shortened(as_options(value), _SHOWN)


def as_options(value: object) -> str:
    """Return a value of a record as a user writes it: a mapping as `KEY=VALUE`, a list with commas."""
    if isinstance(value, Mapping):
        return " ".join(f"{key}={one}" for key, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)
