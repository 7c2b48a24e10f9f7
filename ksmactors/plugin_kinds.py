"""The kinds of plug-ins: the groups, and whether a class can be one."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Final, NamedTuple

from ksmactors.errors import UsageError
from ksmactors.events.declared import events_of
from ksmactors.overrides import wrong_override


class ExtensionKind(NamedTuple):
    """What a group holds: what one is called, where its base class is, and what the base class is called in messages.

    The base class is imported when something is compared with it: the names of plug-ins can be had without trio.
    """

    title: str
    module: str
    cls: str
    says: str

    @property
    def base(self) -> type:
        """The class that everything in the group is a subclass of."""
        found: type = getattr(import_module(self.module), self.cls)
        return found


KINDS: Final = {
    "workloads": ExtensionKind(
        "workload", "ksmactors.program", "Program", "ksmactors.workload.Workload or ksmactors.model.Model"
    ),
    "variants": ExtensionKind("variant", "ksmactors.ksm.kernel", "Ksm", "ksmactors.variant.Ksm"),
    "strategies": ExtensionKind(
        "strategy", "ksmactors.interleave.strategies.base", "Strategy", "ksmactors.strategy.Strategy"
    ),
    "watchers": ExtensionKind("watcher", "ksmactors.watch.base", "Watcher", "ksmactors.watcher.Watcher"),
}
"""The groups, without the prefix of their entry points."""


def wrong_with(value: object, group: str) -> str:
    """What is wrong with a value that should be a class of a group; empty if nothing."""
    kind = KINDS[group]
    if not isinstance(value, type) or not issubclass(value, kind.base):
        return f"is not a subclass of {kind.says}"
    if group != "workloads":
        return ""
    takes = next((list(inspect.signature(vars(base)["run"]).parameters)[1] for base in _declaring(value)), "host")
    if inspect.isabstract(value):
        return f"has no method run({takes})"
    if not inspect.iscoroutinefunction(getattr(value, "run", value.perform)):  # type: ignore[attr-defined]
        return f"has a run that is no coroutine (write: async def run(self, {takes}))"
    return _wrong_method(value) or _wrong_attribute(value)


def _wrong_method(workload: type) -> str:
    """What is wrong with how a workload's methods are called."""
    for name, base in (*(("run", base) for base in _declaring(workload)), ("prepare", KINDS["workloads"].base)):
        wrong = wrong_override(workload, base, name)
        if wrong:
            return f"has a {name} that {wrong}"
    return ""


def _declaring(workload: type) -> list[type]:
    """The class that says how the `run` of a workload is called; none if it has no `run`."""
    declare = [base for base in workload.__mro__ if getattr(vars(base).get("run"), "__isabstractmethod__", False)]
    return declare[-1:]


def _wrong_attribute(workload: type) -> str:
    """What is wrong with what a workload says about itself."""
    for name in ("name", "summary"):
        if not isinstance(getattr(workload, name), str):
            return f"has a {name} that is no text"
    marks = getattr(workload, "expect_marks", ())
    if not isinstance(marks, tuple) or not all(isinstance(mark, str) for mark in marks):
        return "has an expect_marks that is no tuple of texts"
    try:
        events_of(workload)
    except UsageError as error:
        return f"cannot declare its events: {error}"
    return ""
