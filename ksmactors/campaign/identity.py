"""What a store is a campaign of: two campaigns with one identity agree in every schedule of the same seed."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from ksmactors import plugins
from ksmactors.campaign.dealing import EQUAL, strategies_of
from ksmactors.errors import UsageError
from ksmactors.interleave.strategies.registry import nested
from ksmactors.run.subject import Subject

_ORDER: Final = ("ksmactors", "subjects", "strategy", "budget")
"""What is compared first: it says most to a person."""

_SHOWN: Final = 80
"""Characters of a value in a message."""


def identity(subjects: Sequence[Subject], strategy: str, budget: str = EQUAL) -> dict[str, Any]:
    """Return what decides about a campaign's schedules beside their seeds, as JSON has it."""
    return {
        "ksmactors": version("ksmactors"),
        "subjects": [subject.header() for subject in subjects],
        "sources": [[source.sha256 for source in subject.sources] for subject in subjects],
        "strategy": strategy,
        "budget": budget,
        "strategies": [strategy] if budget == EQUAL else list(strategies_of(strategy)),
        "plugins": plugin_origins([subject.header() for subject in subjects], strategy),
        "code": source_hash(),
    }


def plugin_origins(headers: Sequence[Mapping[str, Any]], strategy: str) -> dict[str, str]:
    """Return where each name comes from that another package has registered, by group and name.

    Args:
        headers: the subjects, as `Subject.header` describes them.
        strategy: the strategy, as `--strategy` has it.
    """
    found = {f"{group} {name}": plugins.origin_of(group, name) for group, name in sorted(names_in(headers, strategy))}
    return {name: origin for name, origin in found.items() if origin and not origin.startswith("ksmactors ")}


def names_in(headers: Sequence[Mapping[str, Any]], strategy: str) -> set[tuple[str, str]]:
    """Return all that a campaign names which a plug-in may have, each with its group."""
    named = {("strategies", name) for name, _ in nested(strategy)}
    for header in headers:
        named.add(("workloads", header["workload"]))
        named |= {("variants", name) for name in (*header["with"], *header["without"])}
        named |= {("watchers", name) for name in header["watch"]}
    return named


@cache
def source_hash() -> str:
    """Return a hash over the source of ksmactors and the built-in workloads: it may change without the version."""
    hashed = hashlib.blake2b(digest_size=16)
    for package in ("ksmactors", "workloads"):
        root = Path(next(iter(import_module(package).__path__)))
        for file in sorted(root.rglob("*.py")):
            hashed.update(f"{package}/{file.relative_to(root)}\0".encode() + file.read_bytes())
    return hashed.hexdigest()


def made_with(subjects: Sequence[Subject]) -> dict[str, Any]:
    """Return what decides about nothing: versions, for a person who compares rates, and where the files were."""
    return {
        "python": platform.python_version(),
        "trio": version("trio"),
        "machine": platform.machine(),
        "files": [[[source.file, source.sha256] for source in subject.sources] for subject in subjects],
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
    if key == "sources":
        return "files had another content", "that of now"
    if key == "code":
        return "schedules are those of another state of ksmactors", "those of this one"
    return f"{key} is {_shown(then)}", _shown(now)


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
