"""`ksmactors list`: what there is, plug-ins included, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any, Final

import click

from ksmactors.aside import stdout
from ksmactors.cli.listed import WHAT, Row, events_at, row_at, rows_of
from ksmactors.cli.options import output_options
from ksmactors.cli.screen import echo, echo_json, echo_styled, notice
from ksmactors.errors import UsageError, spelled, unknown
from ksmactors.escaping import escaped
from ksmactors.events.colors import color_allowed
from ksmactors.plugins import is_placed

COLUMNS: Final = 100
"""Width of the prose about one thing."""

_ONE_OF: Final = {"workloads": "workload", "strategies": "strategy", "variants": "variant or commit",
                  "watchers": "watcher", "events": "event", "commits": "commit", "cases": "case",
                  "kernels": "kernel"}  # fmt: skip

_PLACED: Final = ("workloads", "strategies", "variants", "watchers", "events")
"""What can be named by the place of its code."""


@click.command("list")
@click.argument("what", type=click.Choice(WHAT))
@click.argument("name", required=False)
@output_options
def listing(what: str, name: str | None, as_json: bool, quiet: bool, color: str) -> int:  # noqa: ARG001  # a list is all there is to say
    """List all items of a kind, plug-ins included, and the package of each.

    With a NAME, show that one in full. NAME may also be path/to/file.py:Class or package.module:Class; with `list
    events`, that shows the events which the class declares. With --json, print an array of objects, or the one object.
    """
    if name is not None and is_placed(name):
        return _print_placed(what, name, as_json=as_json, color=color)
    rows, problems = rows_of(what)
    for problem in problems:
        notice(problem)
    chosen = None if name is None else _chosen(rows, what, name)
    if as_json:
        import orjson

        echo_json(orjson.dumps(rows if chosen is None else chosen, option=orjson.OPT_INDENT_2).decode())
    elif chosen is not None:
        _print_one(chosen, what)
    else:
        _print(rows, what, color)
    return 0


def _print_placed(what: str, spec: str, *, as_json: bool, color: str) -> int:
    """Show a class that is named by its place, or the events that it declares."""
    if what not in _PLACED:
        raise UsageError(f"list {what} {spec}: only {', '.join(_PLACED)} are named by the place of their code")
    shown: Row | list[Row] = events_at(spec) if what == "events" else row_at(what, spec)
    if as_json:
        import orjson

        echo_json(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
    elif isinstance(shown, list):
        _print(shown, what, color)
    else:
        _print_one(shown, what)
    return 0


def _chosen(rows: list[Row], what: str, name: str) -> Row:
    found = {row["case"]: row for row in rows if "case" in row}  # no two commits have one label
    found |= {other: row for row in rows for other in (*row.get("aliases", ()), row["name"])}
    row = found.get(spelled(name, found))
    if row is None:
        raise UsageError(unknown(_ONE_OF[what], name, found))
    return row


# -- all of a kind ------------------------------------------------------------------------------------------------


def _print(rows: list[Row], what: str, color: str) -> None:
    """Print one line a row, and below it one for each of its parameters or fields."""
    colored = color_allowed(stdout(), color)
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        note = "".join(f" [{word}]" for word in (row.get("level"), row.get("kind"), *_kernels(row)) if word)
        echo_styled(
            (f"{row['name']:<{width}}", {"bold": True}),
            (f"  {row['summary']}{note}  ", {}),
            (row["origin"], {"dim": True}),
            color=colored,
        )
        details = [_detail(detail, what) for detail in (*row.get("parameters", ()), *row.get("fields", ()))]
        for detail in details if what != "commits" else _about_commit(row):
            echo(f"    {escaped(detail)}")


def _kernels(row: Row) -> list[str]:
    """The kernels that have a variant."""
    found: list[str] = row.get("kernels", [])
    return found


def _about_commit(row: Row) -> list[str]:
    """Which commit it is, what is found without it, and how to undo it."""
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


# -- one in full ----------------------------------------------------------------------------------------------------


def _print_one(row: Row, what: str) -> None:
    echo(f"{row['name']}: {row['summary']}")
    for line in _lines(row, what):
        echo(line)


def _lines(row: Row, what: str) -> Iterator[str]:
    """Everything that a row says but its name and summary: prose first, then one line for each list or value."""
    for key in ("description", "story", "silent_because"):
        text = row.get(key) or ""
        if text:
            yield ""
            yield from _prose(text if key != "silent_because" else f"Nothing may be found: {text}")
    yield ""
    for key, value in row.items():
        if key in ("name", "summary", "description", "story", "silent_because") or value in ("", None, [], {}):
            continue
        if key in ("parameters", "fields"):
            for detail in value:
                yield f"{key[:-1]}: {_detail(detail, what)}"
        elif key in ("commands", "script"):
            for one in value:
                yield f"{'directed' if key == 'script' else 'run'}: {one}"
        else:
            yield f"{key}: {_plain(value)}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={one}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _prose(text: str) -> Iterator[str]:
    """Paragraphs wrapped to COLUMNS; what is indented stays as it is."""
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ""
        if any(line.startswith(" ") for line in paragraph.splitlines()):
            yield from paragraph.splitlines()
        else:
            yield from wrap(paragraph, COLUMNS, break_on_hyphens=False, break_long_words=False)
