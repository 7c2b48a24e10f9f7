"""The rows of `ksmactors list`: what there is of each kind, as objects for JSON.

Each function imports what it lists and nothing else: `list events` starts without trio and without the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from inspect import cleandoc
from shlex import join
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ksmactors.events.catalogue import Event
    from ksmactors.events.declared import PluginEvent
    from ksmactors.history import Commit
    from ksmactors.history.case import Case
    from ksmactors.plugins import Plugin

Row = dict[str, Any]
"""At least `name`, `summary` and `origin` (package and version)."""


def rows_of(what: str) -> tuple[list[Row], list[str]]:
    """Return everything of a kind, and one line for each plug-in that cannot be loaded.

    Args:
        what: one of WHAT.
    """
    return _LISTS[what]()


@cache
def _own() -> str:
    from importlib.metadata import version

    return f"ksmactors {version('ksmactors')}"


def row_at(what: str, spec: str) -> Row:
    """Return the row of a class that is named by its place: `path/to/file.py:Class` or `package.module:Class`.

    Args:
        what: workloads, strategies, variants or watchers.
        spec: the place. Its code is run.

    Raises:
        UsageError: there is no such class, or it cannot be used.
    """
    from ksmactors import plugins
    from ksmactors.run.extensions import need

    if what == "workloads":
        return _workload(plugins.load(what, spec))
    need(what, spec)
    row = next(row for row in rows_of(what)[0] if row["name"] == spec)
    return row | {"origin": plugins.load(what, spec).origin}


def events_at(spec: str) -> list[Row]:
    """Return the rows of the events that a class declares which is named by its place.

    Raises:
        UsageError: there is no such class, or it is neither a workload nor a variant.
    """
    from ksmactors.cli import plugin_events

    return [_event(event, plugin.origin) for plugin, event in plugin_events.events_at(spec)]


def _row(name: str, summary: str, origin: str = "", **more: Any) -> Row:
    return {"name": name, "summary": summary, "origin": origin or _own(), **more}


def _parameters(cls: type) -> list[Row]:
    from ksmactors.parameters import parameters_of

    return [parameter.describe() for parameter in parameters_of(cls).values()]


def _description(cls: type) -> str:
    """Return what the documentation of a class says after its first line, without indentation."""
    return cleandoc(cls.__doc__ or "").partition("\n")[2].strip()


def _functions(layer: type) -> list[str]:
    """Return the functions of the kernel that a variant overrides or adds, and its helpers; by name."""
    return sorted(name for name, value in vars(layer).items() if callable(value) and not name.startswith("__"))


def _workloads() -> tuple[list[Row], list[str]]:
    from ksmactors import plugins

    found, problems = plugins.available("workloads")
    return [_workload(plugin) for plugin in found], problems


def _workload(plugin: Plugin) -> Row:
    cls = plugin.value
    return _row(
        plugin.name, cls.summary, plugin.origin, parameters=_parameters(cls), description=_description(cls),
        marks=list(cls.marks_expected()), events=[event.name for event in cls.events],
    )  # fmt: skip


def _strategies() -> tuple[list[Row], list[str]]:
    from ksmactors.interleave.strategies.registry import STRATEGIES
    from ksmactors.run.extensions import origins, register_all

    problems = register_all("strategies")
    known = origins("strategies")
    return [
        _row(name, cls.summary, known.get(name, ""), parameters=_parameters(cls), description=_description(cls))
        for name, cls in STRATEGIES.items()
    ], problems


def _variants() -> tuple[list[Row], list[str]]:
    """Variants in the order of the registry; then the commits that can be undone, which are variants by their kind."""
    from ksmactors.history import COMMITS
    from ksmactors.kernels import FORMER_NAMES, KERNELS, VARIANTS, kind_of
    from ksmactors.run.extensions import origins, register_all

    problems = register_all("variants")
    known = origins("variants")
    rows = [
        _row(
            name, variant.summary, known.get(name, ""), kind=kind_of(name),
            kernels=[kernel for kernel, names in KERNELS.items() if name in names], aliases=_former(FORMER_NAMES, name),
            option="--with", description=_description(variant.layer), functions=_functions(variant.layer),
        )
        for name, variant in VARIANTS.items()
    ]  # fmt: skip
    undone = [
        _row(
            slug, commit.summary, kind=kind_of(slug), kernels=[], aliases=[],
            option="--without", description=_description(commit.layer), functions=_functions(commit.layer),
        )
        for slug, commit in COMMITS.items()
    ]  # fmt: skip
    return rows + undone, problems


def _watchers() -> tuple[list[Row], list[str]]:
    from ksmactors.run.extensions import origins, register_all
    from ksmactors.watch import FORMER_NAMES, WATCHERS

    problems = register_all("watchers")
    known = origins("watchers")
    return [
        _row(name, cls.summary, known.get(name, ""), aliases=_former(FORMER_NAMES, name), description=_description(cls))
        for name, cls in WATCHERS.items()
    ], problems


def _former(names: Mapping[str, str], name: str) -> list[str]:
    """The names that this one had once."""
    return [former for former, current in names.items() if current == name]


def _events() -> tuple[list[Row], list[str]]:
    """The catalogue, then what plug-ins declare, which are loaded for it."""
    from ksmactors.cli.plugin_events import installed_events
    from ksmactors.events.catalogue import CATALOGUE

    found, problems = installed_events()
    rows = [_event(event, "") for event in CATALOGUE]
    return rows + [_event(event, plugin.origin) for plugin, event in found], problems


def _event(event: Event | PluginEvent, origin: str) -> Row:
    fields = [asdict(field) for field in event.fields]
    return _row(event.name, event.summary, origin, level=event.level, fields=fields)


def _commits() -> tuple[list[Row], list[str]]:
    """The commits of the series, oldest first, with what shows that one is missing and which watchers report it."""
    from ksmactors.history import COMMITS
    from ksmactors.history.cases import cases_of

    rows = []
    for commit in COMMITS.values():
        cases = cases_of(commit)
        rows.append(
            _row(
                commit.slug, commit.summary,
                subject=commit.subject, date=commit.date, dated="committed" if commit.committed else "posted",
                case=commit.case, cases=[case.name for case in cases],
                workloads=list(dict.fromkeys(case.workload for case in cases)),
                watchers=_watchers_of(commit, cases),
                commands=[f"ksmactors stress {join(case.arguments)}" for case in cases if commit.slug in case.without],
            )
        )  # fmt: skip
    return rows, []


def _watchers_of(commit: Commit, cases: Iterable[Case]) -> list[str]:
    """Return the watchers that report a kernel without a commit, and without anything else put on: names that --watch
    accepts. A mutant of the commit may be reported by others, and by operations of the kernel (`structure`)."""
    from ksmactors.history.mutants import MUTANTS
    from ksmactors.watch import WATCHERS

    undone = [case for case in cases if commit.slug in case.without and not MUTANTS.keys() & {*case.with_}]
    return list(dict.fromkeys(case.watcher for case in undone if case.watcher in WATCHERS))


def _cases() -> tuple[list[Row], list[str]]:
    """The cases of the corpus, in its order."""
    from ksmactors.history.cases import ALIASES, CASES

    aliases: dict[str, list[str]] = {}
    for alias, name in ALIASES.items():
        aliases.setdefault(name, []).append(alias)
    return [_case(case, aliases.get(case.name, [])) for case in CASES.values()], []


def _case(case: Case, aliases: list[str]) -> Row:
    row = _row(
        case.name, case.title,
        aliases=aliases, workload=case.workload, params=dict(case.params), inject=case.inject, kernel=case.kernel,
        without=list(case.without),
    )  # fmt: skip
    return row | {
        "with": list(case.with_),
        "watcher": case.watcher or None,
        "signature": case.signature or None,
        "also": list(case.also),
        "story": case.story,
        "silent_because": case.silent_because or None,
        "script": list(case.script),
        "confirmed": list(case.confirmed),
        "commands": [f"ksmactors stress {join(case.arguments)}", f"ksmactors corpus {join([case.name])}"],
    }


def _kernels() -> tuple[list[Row], list[str]]:
    from ksmactors.kernels import KERNELS, SUMMARIES

    return [_row(name, SUMMARIES[name], variants=list(variants)) for name, variants in KERNELS.items()], []


_LISTS: Final[dict[str, Callable[[], tuple[list[Row], list[str]]]]] = {
    "workloads": _workloads,
    "strategies": _strategies,
    "variants": _variants,
    "watchers": _watchers,
    "events": _events,
    "commits": _commits,
    "cases": _cases,
    "kernels": _kernels,
}

WHAT: Final = tuple(_LISTS)
"""The kinds of things that can be listed."""
