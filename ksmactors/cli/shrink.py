"""`ksmactors shrink`: the same finding with the fewest departures from the default order, told as a story."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from time import perf_counter

import anyio
import click

from ksmactors.campaign.findings import default_directory, kept, prepare
from ksmactors.campaign.tally import Tally
from ksmactors.cli.options import out_option, output_options
from ksmactors.cli.report import json_object, print_found
from ksmactors.cli.screen import console
from ksmactors.diagnose import shrink as shrinking
from ksmactors.diagnose.replaying import recorded
from ksmactors.errors import INTERRUPTED
from ksmactors.interleave.strategies.follow import Follow


@click.command()
@click.argument("source", metavar="FILE|SCHEDULE")
@click.option(
    "--max-schedules", type=click.IntRange(1), default=shrinking.MAX_SCHEDULES, show_default=True, metavar="N",
    help="The most schedules that are tried.",
)  # fmt: skip
@click.option(
    "--max-seconds", type=click.FloatRange(0, min_open=True), metavar="S",
    help="End after so many seconds with the smallest so far. What is left then depends on the machine.",
)  # fmt: skip
@out_option
@output_options
def shrink(
    source: str,
    max_schedules: int,
    max_seconds: float | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    color: str,
) -> int:
    """Cut a finding to the bone: the fewest departures from the default order, and the smallest parameters.

    FILE is a finding file, or a file that holds a schedule string; - is standard input. In the default order the actor
    that has the turn goes on, and when it cannot, the lowest-numbered ready one. What is left is written to a finding
    file of its own, and told as a story. It has the signature of the finding given, and has been replayed. Exits with
    1, since something is found; with 4, and writes nothing, if the finding does not appear again. Ctrl-C and SIGTERM
    end it with the smallest so far.
    """
    directory = prepare(out or default_directory())
    then = recorded(source)
    out_screen = console(sys.stderr, color)

    def on_try(tried: int, left: int) -> None:
        if not quiet and sys.stderr.isatty():
            out_screen.print(f"{tried} schedules tried, {left} departures left", end="\r")

    started = perf_counter()
    task = partial(shrinking.shrink, then, max_schedules=max_schedules, max_seconds=max_seconds, on_try=on_try)
    try:
        shrunk = anyio.run(task, backend="trio")
    except* KeyboardInterrupt:
        shrunk = None
    if shrunk is None:
        click.echo("ksmactors: interrupted before the finding was seen again", err=True)
        return INTERRUPTED
    seconds = perf_counter() - started
    found = kept(shrunk.outcome, directory)
    tally = Tally()
    tally.add(shrunk.outcome)
    tally.keep(found)
    if shrunk.interrupted:
        click.echo(f"ksmactors: interrupted; this is the smallest so far: {shrunk.left}", err=True)
    elif shrunk.stopped_by and not quiet:
        click.echo(f"ksmactors: stopped by {shrunk.stopped_by}: {shrunk.left}", err=True)
    status = INTERRUPTED if shrunk.interrupted else tally.exit_status
    if as_json:
        click.echo(json_object([shrunk.subject], Follow.name, tally, seconds, **shrinking.as_json(shrunk)))
        return status
    print_found(found, stream=sys.stdout, color=color)
    click.echo(_summary(shrunk))
    for number, line in enumerate(shrunk.story, 1):
        click.echo(f"  {number}. {line}")
    return status


def _summary(shrunk: shrinking.Shrunk) -> str:
    left = len(shrunk.departures)
    given = ", ".join(f"{key}={value}" for key, value in shrunk.subject.params)
    return (
        f"{left} departure{'' if left == 1 else 's'} of {shrunk.of} left, {shrunk.outcome.steps:,} steps"
        f"{f' with {given}' if given else ''}; {shrunk.tried} schedules tried"
    )
