"""An exploration that was interrupted, kept in a file and read back: where the search is, and the sums so far."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ksmactors.campaign.explore import Exploration
from ksmactors.campaign.finding_records import found_of, record_of
from ksmactors.campaign.findings import slug
from ksmactors.campaign.identity import as_options
from ksmactors.campaign.summary import Summary, counted
from ksmactors.errors import NotDeterministic, ScheduleFormatError, UsageError
from ksmactors.escaping import shortened
from ksmactors.files import MIB, read_bounded, write_atomically
from ksmactors.run.async_run import run_async

FORMAT: Final = 1
"""Version of the state file; a reader refuses another one."""

STATE_MAX: Final = 256 * MIB
"""Bytes of a state file that are read."""


def state_file(exploration: Exploration) -> Path | None:
    """Where the state of an exploration is kept: with its findings, one for each workload. None: nowhere."""
    plan = exploration.plan
    return plan.out / f"exploration-{slug(plan.subjects[0].name)}.json" if plan.out is not None else None


def perform(exploration: Exploration, *, resume: bool) -> str:
    """Run an exploration, from where another one was interrupted if that is wanted; keep its state if it is, too.

    Raises:
        UsageError: there is nothing to go on with, or it is of something else.
        ScheduleFormatError: the workload does not do what the state says.
        NotDeterministic: the workload did something else although all choices were the same.

    Returns why the state could not be kept; empty if it is, or need not be.
    """
    path = state_file(exploration)
    if resume and path is not None:
        restore(exploration, path)
    problems: list[str] = []

    def note(now: Exploration) -> None:
        assert path is not None
        problems.clear()
        try:
            if now.over or now.tally.crash is not None:
                path.unlink(missing_ok=True)
            else:
                keep(now, path)
        except OSError as error:
            problems.append(f"{path}: cannot be written ({error.strerror}), so this exploration cannot be resumed")

    if path is not None:
        exploration.keeping = note
    try:
        run_async(exploration.run)
    except NotDeterministic as error:
        if not resume:
            raise
        raise ScheduleFormatError(
            f"--resume: the state in {path} does not fit: after the same {error.choice} choices it has {error.before}, "
            f"and the workload {error.now}; if that has changed since, explore it from the start, with another --out"
        ) from error
    return "".join(problems)


def keep(exploration: Exploration, path: Path) -> None:
    """Write to a file where an exploration is: it can be resumed from there."""
    tally = exploration.tally
    state = {
        "format": FORMAT,
        "subject": exploration.plan.subjects[0].header(),
        "algorithm": exploration.search.name,
        "parameters": exploration.search.parameters(),
        "search": exploration.search.state(),
        "again": exploration.again,
        "tally": tally.state(),
        "digests": exploration.digests.hex(),
        "found": [record_of(found) for found in tally.found.values()],
    }
    write_atomically(path, json.dumps(state, separators=(",", ":")).encode())  # orjson takes 64 actors at most


def restore(exploration: Exploration, path: Path) -> None:
    """Put an exploration that has not begun where the one was that was interrupted.

    Raises:
        UsageError: there is none, or it was one of something else.
        ScheduleFormatError: the file is no such state.
    """
    try:
        if not os.path.lexists(path):
            name = exploration.plan.subjects[0].name
            raise UsageError(
                f"--resume: no exploration of {name} was interrupted with --out {path.parent}; give the --out it had"
            )
        state = json.loads(read_bounded(path, STATE_MAX, "--resume: state file"))
    except UsageError:
        raise
    except (ValueError, RecursionError) as error:
        raise ScheduleFormatError(f"--resume: {path} is no state of an exploration: {error}") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ScheduleFormatError(f"--resume: {path} is no state of an exploration that this version reads")
    _refuse_another(exploration, state, path)
    try:
        exploration.search.restore(state["search"])
        exploration.again = counted(state["again"])
        exploration.digests = bytearray.fromhex(state["digests"])
        exploration.tally = Summary.restored(state["tally"], bytes(exploration.digests))
        for kept in state["found"]:
            found = found_of(kept)
            exploration.tally.found[found.defect.signature] = found
    except UsageError as error:
        raise ScheduleFormatError(f"--resume: {path}: {error}") from None
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ScheduleFormatError(f"--resume: {path} makes no sense ({error!r})") from None


def _refuse_another(exploration: Exploration, state: Mapping[str, Any], path: Path) -> None:
    """UsageError if the state is one of another subject or search, naming the first difference."""
    now = exploration.plan.subjects[0].header() | {
        "algorithm": exploration.search.name, **exploration.search.parameters()
    }  # fmt: skip
    subject, parameters = state.get("subject"), state.get("parameters")
    if not isinstance(subject, dict) or not isinstance(parameters, dict):
        raise ScheduleFormatError(f"--resume: {path} does not say what it is an exploration of; give another --out")
    then = {**subject, "algorithm": state.get("algorithm"), **parameters}
    for key in sorted({*now, *then}):
        if now.get(key) != then.get(key):
            raise UsageError(
                f"--resume: {path} is of another exploration: its {key} is "
                f"{shortened(as_options(then.get(key)))}, not {shortened(as_options(now.get(key)))}; "
                "ask for the same, or give another --out"
            )
