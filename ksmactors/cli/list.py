"""`ksmactors list`: what there is, plug-ins included, and where each comes from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Final

import click
import orjson

from ksmactors import plugins
from ksmactors.cli.options import output_options
from ksmactors.cli.report import console

Row = dict[str, Any]


@click.command("list")
@click.argument("what", type=click.Choice(["workloads", "strategies", "variants", "watchers", "events", "commits"]))
@output_options
def list_(what: str, as_json: bool, quiet: bool, color: str) -> int:
    """List workloads, strategies, variants, watchers, events or commits, and where each comes from."""
    rows, problems = _LISTS[what]()
    for problem in problems:
        click.echo(f"ksmactors: {problem}", err=True)
    if as_json:
        click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
    elif rows:
        _print(rows, color)
    elif not quiet:
        click.echo(f"There are no {what} in this version.", err=True)
    return 0


def _workloads() -> tuple[list[Row], list[str]]:
    found, problems = plugins.available("workloads")
    return [
        {
            "name": plugin.name,
            "summary": plugin.value.summary,
            "origin": plugin.origin,
            "parameters": [parameter.describe() for parameter in plugin.value.parameters()],
        }
        for plugin in found
    ], problems


def _events() -> tuple[list[Row], list[str]]:
    from ksmactors.events.catalogue import CATALOGUE

    own = f"ksmactors {version('ksmactors')}"
    return [
        {
            "name": event.name,
            "summary": event.summary,
            "origin": own,
            "level": event.level,
            "fields": [asdict(field) for field in event.fields],
        }
        for event in CATALOGUE
    ], []


def _commits() -> tuple[list[Row], list[str]]:
    return [], []


def _print(rows: list[Row], color: str) -> None:
    """One line a row, and below it one for each of its parameters or fields."""
    from rich.text import Text

    out = console(sys.stdout, color)
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        level = f" [{row['level']}]" if "level" in row else ""
        out.print(Text.assemble((f"{row['name']:<{width}}", "bold"), f"  {row['summary']}{level}  ", (row["origin"], "dim")))
        for detail in (*row.get("parameters", ()), *row.get("fields", ())):
            out.print(Text(f"    {_detail(detail)}"), soft_wrap=True)


def _detail(detail: Mapping[str, Any]) -> str:
    if "default" in detail:
        return f"-p {detail['name']}={detail['default']}: {detail['help']} ({detail['allowed']})"
    unit = f", {detail['unit']}" if detail["unit"] else ""
    return f"{detail['name']} ({detail['type']}{unit}): {detail['help']}"
