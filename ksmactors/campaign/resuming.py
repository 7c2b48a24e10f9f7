"""An exploration that was interrupted, kept in a file and read back: where the search is, and the sums so far."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import orjson

from ksmactors import interruption
from ksmactors.campaign.explore import Exploration
from ksmactors.campaign.findings import replay_command, slug
from ksmactors.campaign.outcome import Defect, Outcome, Verdict
from ksmactors.campaign.tally import Found, Tally
from ksmactors.errors import ScheduleFormatError, UsageError
from ksmactors.files import MIB, read_bounded, write_atomically

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
            problems.append(
                f"where the exploration is cannot be written, so it cannot be gone on with: {path}: {error.strerror}"
            )

    if path is not None:
        exploration.keeping = note
    interruption.run(exploration.run)
    return "".join(problems)


def keep(exploration: Exploration, path: Path) -> None:
    """Write to a file where an exploration is: it can be gone on with from there."""
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
        "found": [_kept(found) for found in tally.found.values()],
    }
    write_atomically(path, orjson.dumps(state))


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
        state = orjson.loads(read_bounded(path, STATE_MAX, "--resume: state file"))
    except orjson.JSONDecodeError as error:
        raise ScheduleFormatError(f"--resume: {path} is no state of an exploration: {error}") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ScheduleFormatError(f"--resume: {path} is no state of an exploration that this version reads")
    _refuse_another(exploration, state, path)
    try:
        exploration.search.restore(state["search"])
        exploration.again = state["again"]
        exploration.digests = bytearray.fromhex(state["digests"])
        exploration.tally = Tally.restored(state["tally"], bytes(exploration.digests))
        for kept in state["found"]:
            exploration.tally.found[kept["defect"]["signature"]] = _found(kept)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
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
                f"--resume: {path} is of another exploration: its {key} is {then.get(key)}, not {now.get(key)}; "
                "ask for the same, or give another --out"
            )


def _kept(found: Found) -> dict[str, Any]:
    outcome, defect = found.outcome, found.outcome.defect
    assert defect is not None
    told = {field.name: getattr(defect, field.name) for field in fields(defect) if field.name != "explanation"}
    return {
        "defect": told, "workload": outcome.workload, "seed": outcome.seed, "strategy": outcome.strategy,
        "schedule": outcome.schedule, "count": found.count, "file": str(found.file) if found.file else None,
    }  # fmt: skip


def _found(kept: Mapping[str, Any]) -> Found:
    told: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in kept["defect"].items()
    }
    outcome = Outcome(
        kept["workload"], kept["seed"], kept["strategy"], Verdict.FINDING, 0, 0, (), b"", b"", kept["schedule"],
        defect=Defect(**told),
    )  # fmt: skip
    file = Path(kept["file"]) if kept["file"] else None
    return Found(outcome, file, replay=replay_command(outcome.schedule, file), count=kept["count"])
