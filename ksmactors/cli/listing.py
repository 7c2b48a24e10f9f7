"""`ksmactors list`: what there is, plug-ins included, and where each comes from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from shlex import join
from typing import Any, Final

import click
import orjson

from ksmactors import plugins
from ksmactors.campaign.extensions import origins, register_all
from ksmactors.cli.options import output_options
from ksmactors.cli.screen import console, echo_json, notice
from ksmactors.escaping import escaped
from ksmactors.parameters import parameters_of

Row = dict[str, Any]

WHAT: Final = ("workloads", "strategies", "variants", "watchers", "events", "commits")
OWN: Final = f"ksmactors {version('ksmactors')}"


@click.command("list")
@click.argument("what", type=click.Choice(WHAT))
@output_options
def listing(what: str, as_json: bool, quiet: bool, color: str) -> int:  # noqa: ARG001  # a list is all there is to say
    """List workloads, strategies, variants, watchers, events or commits, and where each comes from."""
    rows, problems = _LISTS[what]()
    for problem in problems:
        notice(problem)
    if as_json:
        echo_json(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(rows, what, color)
    return 0


def _workloads() -> tuple[list[Row], list[str]]:
    found, problems = plugins.available("workloads")
    return [
        _row(plugin.name, plugin.value.summary, plugin.origin, parameters=_parameters(plugin.value)) for plugin in found
    ], problems


def _strategies() -> tuple[list[Row], list[str]]:
    from ksmactors.interleave.strategies.registry import STRATEGIES

    problems = register_all("strategies")
    return [
        _row(name, cls.summary, origins("strategies").get(name, OWN), parameters=_parameters(cls))
        for name, cls in STRATEGIES.items()
    ], problems


def _variants() -> tuple[list[Row], list[str]]:
    from ksmactors.kernels import KERNELS, VARIANTS

    problems = register_all("variants")
    return [
        _row(
            name, variant.summary, origins("variants").get(name, OWN),
            kernels=[kernel for kernel, names in KERNELS.items() if name in names],
        )
        for name, variant in VARIANTS.items()
    ], problems  # fmt: skip


def _watchers() -> tuple[list[Row], list[str]]:
    from ksmactors.watch import WATCHERS

    problems = register_all("watchers")
    return [_row(name, cls.summary, origins("watchers").get(name, OWN)) for name, cls in WATCHERS.items()], problems


def _events() -> tuple[list[Row], list[str]]:
    from ksmactors.events.catalogue import CATALOGUE

    return [
        _row(event.name, event.summary, OWN, level=event.level, fields=[asdict(field) for field in event.fields])
        for event in CATALOGUE
    ], []


def _commits() -> tuple[list[Row], list[str]]:
    """The commits of the series, oldest first, with what shows that one is missing and who convicts it."""
    from ksmactors.history import COMMITS
    from ksmactors.history.cases import cases_of

    rows = []
    for commit in COMMITS.values():
        cases = cases_of(commit)
        rows.append(
            _row(
                commit.slug, commit.summary, OWN,
                subject=commit.subject, date=commit.date, dated="committed" if commit.committed else "posted",
                case=commit.case, cases=[case.name for case in cases],
                workloads=list(dict.fromkeys(case.workload for case in cases)),
                watchers=list(dict.fromkeys(case.watcher for case in cases if case.watcher)),
                commands=[f"ksmactors stress {join(case.arguments)}" for case in cases if commit.slug in case.without],
            )
        )  # fmt: skip
    return rows, []


_LISTS: Final[dict[str, Callable[[], tuple[list[Row], list[str]]]]] = {
    "workloads": _workloads,
    "strategies": _strategies,
    "variants": _variants,
    "watchers": _watchers,
    "events": _events,
    "commits": _commits,
}


def _row(name: str, summary: str, origin: str, **more: Any) -> Row:
    return {"name": name, "summary": summary, "origin": origin, **more}


def _parameters(cls: type) -> list[Row]:
    return [parameter.describe() for parameter in parameters_of(cls).values()]


def _print(rows: list[Row], what: str, color: str) -> None:
    """One line a row, and below it one for each of its parameters or fields."""
    from rich.text import Text

    out = console(sys.stdout, color)
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        note = "".join(f" [{word}]" for word in (row.get("level"), *row.get("kernels", ())) if word)
        line = Text.assemble(
            (f"{escaped(row['name']):<{width}}", "bold"),
            escaped(f"  {row['summary']}{note}  "),
            (escaped(row["origin"]), "dim"),
        )
        out.print(line, soft_wrap=True)
        details = [_detail(detail, what) for detail in (*row.get("parameters", ()), *row.get("fields", ()))]
        for detail in details if what != "commits" else _about_commit(row):
            out.print(Text(f"    {escaped(detail)}"), soft_wrap=True)


def _about_commit(row: Row) -> list[str]:
    """Which commit it is, what is found without it or with mutants of it, and how to undo it."""
    found = f"found by {', '.join(row['watchers'])}" if row["watchers"] else "nothing is found without it"
    return [
        f"{row['case']}, {row['dated']} {row['date']}: {row['subject']}",
        f"shown by {', '.join(row['workloads'])}; {found} (cases {', '.join(row['cases'])})",
        *(f"undone: {command}" for command in row["commands"]),
    ]


def _detail(detail: Mapping[str, Any], what: str) -> str:
    """A parameter as it is given on the command line, or a field of an event."""
    if "default" in detail:
        option = "-p " if what == "workloads" else ":"
        return f"{option}{detail['name']}={detail['default']}  {detail['help']} ({detail['allowed']})"
    unit = f", {detail['unit']}" if detail["unit"] else ""
    return f"{detail['name']} ({detail['type']}{unit}): {detail['help']}"
