"""What `run` and `replay` share: one schedule, its log on screen or in a file, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any

from ksmactors.aside import stderr
from ksmactors.campaign.stress import Campaign
from ksmactors.cli.report import json_object, print_defects, report_crash
from ksmactors.cli.screen import echo, echo_json
from ksmactors.errors import INTERRUPTED, UsageError
from ksmactors.events.logs import LogWriter, open_log
from ksmactors.events.terminal import terminal_log
from ksmactors.plugins import log_processors
from ksmactors.quantity import quantity
from ksmactors.run.async_run import run_async


def refuse_two_on_stdout(as_json: bool, log: str | None) -> None:
    """UsageError if both the JSON object and the log are to go to standard output."""
    if as_json and log == "-":
        raise UsageError("--json and --log - both want standard output: give the log a file")


def open_run_log(
    log: str | None, *, shown: bool, color: str, detail: bool, log_config: str | None
) -> AbstractContextManager[LogWriter | None]:
    """The log of one schedule: JSON lines in a file, else a person's form on screen if it is to be shown; there events
    of level debug are shown with `detail` only."""
    processors = log_processors(log_config)
    if log is not None:
        return open_log(log, processors)
    return (
        terminal_log(color=color, level="debug" if detail else "info", processors=processors)
        if shown
        else nullcontext()
    )


def perform(
    campaign: Campaign, *, as_json: bool, quiet: bool, color: str, more: Callable[[], Mapping[str, Any]] = dict
) -> int:
    """Run the one schedule and tell what came of it; returns the exit status.

    `more` says afterwards what else belongs into the JSON object.
    """
    started = perf_counter()
    run_async(campaign.run)
    seconds = perf_counter() - started
    plan, tally = campaign.plan, campaign.tally
    if as_json:
        schedule = campaign.last.schedule if campaign.last else ""
        beside = {"seed": plan.seeds.start, "schedule": schedule, **more()}
        echo_json(json_object(plan.subjects, plan.strategy, tally, seconds, **beside))
    if campaign.interrupted_at is not None:
        echo(
            f"{plan.subjects[0].name}, seed {plan.seeds.start}: interrupted after {seconds:.1f} s, before the schedule "
            "ended; it is not counted",
            err=True,
        )
        return INTERRUPTED
    print_defects(tally, stream=stderr(), color=color)
    if tally.crash is not None:
        report_crash(tally.crash)
    elif not quiet:
        echo(
            f"{plan.subjects[0].name}, seed {plan.seeds.start}: {tally.verdict} in {quantity(tally.steps, 'step')}, "
            f"{quantity(tally.choices, 'choice')}, {quantity(tally.merges, 'merge')}, "
            f"{quantity(sum(n for n, _ in tally.races.values()), 'race')}; "
            f"digest {tally.digest}",
            err=True,
        )
    return tally.exit_status
