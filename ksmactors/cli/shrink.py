"""`ksmactors shrink`: the same finding with the fewest departures from the default order, described in prose."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from ksmactors.aside import stderr, stdout
from ksmactors.campaign.findings import default_directory, kept, prepare
from ksmactors.campaign.summary import Summary
from ksmactors.cli.options import NamedPath, Seconds, WholeNumber, out_option, output_options, trust_option
from ksmactors.cli.outputs import refuse_overwriting
from ksmactors.cli.report import json_object, print_found, report_crash
from ksmactors.cli.screen import console, echo, echo_json, notice
from ksmactors.diagnose import shrink as shrinking
from ksmactors.diagnose.cause import CAUSE_STEPS_MAX, Cause, what_made_the_difference
from ksmactors.diagnose.replaying import recorded
from ksmactors.diagnose.scenario_text import write_scenario
from ksmactors.errors import INTERRUPTED, UsageError
from ksmactors.files import write_new
from ksmactors.interleave.schedule_string import decode
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.quantity import quantity
from ksmactors.run.async_run import run_async


@click.command()
@click.argument("source", metavar="FILE|SCHEDULE")
@click.option(
    "--max-schedules", type=WholeNumber(1), default=shrinking.MAX_SCHEDULES, show_default=True, metavar="N",
    help="The most schedules that are tried.",
)  # fmt: skip
@click.option(
    "--max-seconds", type=Seconds(0, min_open=True), metavar="S",
    help="End after S seconds with the smallest so far. The result then depends on the machine.",
)  # fmt: skip
@click.option(
    "--scenario", "scenario", type=NamedPath(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write the schedule that is left as a scenario with holds, as far as its switches fall on places; say what "
    "could not be expressed, and whether `conform` finds the same with it.",
)  # fmt: skip
@click.option(
    "--cause/--no-cause", "asked", default=None,
    help="Say which orders of operations the finding needs, and how many of 50 random schedules that keep these orders "
    f"and nothing else lead to it. Takes as long as shrinking, or longer; so by default only up to {CAUSE_STEPS_MAX} "
    "steps and without --max-seconds.",
)  # fmt: skip
@trust_option
@out_option
@output_options
def shrink(
    source: str,
    max_schedules: int,
    max_seconds: float | None,
    scenario: Path | None,
    asked: bool | None,
    trust: bool,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    color: str,
) -> int:
    """Reduce a finding to the fewest departures from the default order, and the smallest parameters.

    FILE is a finding file, or a file that holds a schedule string; - is standard input. In the default order the actor
    that has the turn continues, and when it cannot, the lowest-numbered ready one runs. The result is written to a new
    finding file, and described in prose. It has the signature of the finding given, and has been replayed. Exits with
    1, since something is found; with 4, and writes nothing, if the finding does not appear again. Ctrl-C and SIGTERM
    end it with the smallest so far.
    """
    refuse_overwriting([("--scenario", scenario)], [(source, "the finding that is shrunk")])
    if scenario is not None and scenario.exists():
        raise UsageError(f"--scenario {scenario}: there is a file of that name; name one that does not exist")
    directory = prepare(out or default_directory())
    then = recorded(source, trust=trust, tell=notice)
    out_screen = console(stderr(), color)

    def on_try(tried: int, left: int) -> None:
        if not quiet and stderr().isatty():
            out_screen.print(f"{quantity(tried, 'schedule')} tried, {quantity(left, 'departure')} left", end="\r")

    started = perf_counter()
    done: list[shrinking.Shrunk] = []

    async def task() -> None:
        done.append(await shrinking.shrink(then, max_schedules=max_schedules, max_seconds=max_seconds, on_try=on_try))

    interrupted = False
    try:
        run_async(task)
    except* KeyboardInterrupt:
        interrupted = True
    if not done:
        notice("interrupted before the finding was seen again")
        return INTERRUPTED
    shrunk = replace(done[0], stopped_by=shrinking.INTERRUPT) if interrupted else done[0]
    seconds = perf_counter() - started
    if asked is None:
        asked = shrunk.outcome.steps <= CAUSE_STEPS_MAX and max_seconds is None and not shrunk.stopped_by
    cause = _cause(shrunk, then.seed) if asked else None
    found = kept(shrunk.outcome, directory, cause=None if cause is None else cause.as_json())
    tally = Summary()
    tally.add(shrunk.outcome)
    tally.keep(found)
    if shrunk.interrupted:
        unverified = "" if shrunk.verified else " (not replayed from its schedule string)"
        notice(f"interrupted; this is the smallest so far: {shrunk.left}{unverified}")
    elif shrunk.stopped_by and not quiet:
        notice(f"stopped by {shrunk.stopped_by}: {shrunk.left}")
    if scenario is not None:
        _write_scenario(scenario, shrunk, then.seed)
    status = INTERRUPTED if shrunk.interrupted else tally.exit_status
    if tally.crash is not None:
        report_crash(tally.crash)
    if as_json:
        echo_json(
            json_object(
                [shrunk.subject], ReplayByName.name, tally, seconds, **shrinking.as_json(shrunk), **_difference(cause)
            )
        )
        return status
    for line in cause.lines() if cause is not None else ():
        echo(line)
    print_found(found, stream=stdout(), color=color)
    echo(_summary(shrunk))
    for number, line in enumerate(shrunk.story, 1):
        echo(f"  {number}. {line}")
    return status


def _cause(shrunk: shrinking.Shrunk, seed: int) -> Cause | None:
    """What made the difference; None if it was interrupted, or shrinking was."""
    if shrunk.interrupted:
        return None
    done: list[Cause | None] = []

    async def task() -> None:
        done.append(await what_made_the_difference(shrunk.subject, seed, decode(shrunk.outcome.schedule)))

    try:
        run_async(task)
    except* KeyboardInterrupt:
        notice("interrupted: what made the difference is not known")
    return done[0] if done else None


def _difference(cause: Cause | None) -> dict[str, Any]:
    """What made the difference, for scripts."""
    return {"made_the_difference": None if cause is None else cause.as_json()}


def _write_scenario(path: Path, shrunk: shrinking.Shrunk, seed: int) -> None:
    """Write the scenario, and say on standard error how far it goes."""
    written = run_async(partial(write_scenario, shrunk.subject, seed, shrunk.outcome, shrunk.departures))
    try:
        write_new(path, written.text.encode())
    except OSError as error:
        raise UsageError(f"--scenario {path}: cannot be written ({error.strerror})") from None
    for line in written.missing:
        echo(f"{path}: not expressed: {line}", err=True)
    echo(f"{path}: {written.led_to}", err=True)


def _summary(shrunk: shrinking.Shrunk) -> str:
    left = len(shrunk.departures)
    given = ", ".join(f"{key}={value}" for key, value in shrunk.subject.params)
    return (
        f"{quantity(left, 'departure')} of {shrunk.of} left, {quantity(shrunk.outcome.steps, 'step')}"
        f"{f' with {given}' if given else ''}; {quantity(shrunk.tried, 'schedule')} tried"
    )
