"""An exploration that was interrupted, kept in a file and read back: where the search is, and the sums so far."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from ksmactors import interruption
from ksmactors.campaign.explore import Exploration
from ksmactors.campaign.findings import replay_command, slug
from ksmactors.campaign.summary import Found, Summary, counted
from ksmactors.errors import NotDeterministic, ScheduleFormatError, UsageError
from ksmactors.files import MIB, read_bounded, write_atomically
from ksmactors.run.outcome import EXPLAINED, Break, Defect, Outcome, Step, Verdict

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
            problems.append(
                f"where the exploration is cannot be written, so it cannot be gone on with: {path}: {error.strerror}"
            )

    if path is not None:
        exploration.keeping = note
    try:
        interruption.run(exploration.run)
    except NotDeterministic as error:
        if not resume:
            raise
        raise ScheduleFormatError(
            f"--resume: the state in {path} does not fit: after the same {error.choice} choices it has {error.before}, "
            f"and the workload {error.now}; if that has changed since, explore it from the start, with another --out"
        ) from error
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
            found = _found(kept)
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
                f"--resume: {path} is of another exploration: its {key} is {then.get(key)}, not {now.get(key)}; "
                "ask for the same, or give another --out"
            )


def _kept(found: Found) -> dict[str, Any]:
    outcome, defect = found.outcome, asdict(found.defect)
    explanation = {name: defect.pop(name) for name in EXPLAINED}
    return {
        "defect": defect, "explanation": explanation if found.defect.broke is not None else None,
        "workload": outcome.workload, "seed": outcome.seed,
        "strategy": outcome.strategy, "schedule": outcome.schedule, "count": found.count,
        "file": str(found.file) if found.file else None,
    }  # fmt: skip


def _found(kept: Mapping[str, Any]) -> Found:
    """A finding as `_kept` has written it.

    Raises:
        LookupError, TypeError, ValueError: it is none.
    """
    plain: dict[str, Any] = {
        key: tuple(_text(one) for one in value) if isinstance(value, list) else value
        for key, value in kept["defect"].items()
        if key not in EXPLAINED
    }
    defect = Defect(**plain)
    for name in ("kind", "watcher", "signature", "message", "traceback"):
        _text(getattr(defect, name))
    for several in (defect.actors, defect.functions, defect.story):
        if not isinstance(several, tuple):
            raise ValueError(f"{several!r} is no list")
    if len(defect.actors) != len(defect.functions):
        raise ValueError("a finding whose actors are not in functions")
    counted(defect.step)
    if kept.get("explanation") is not None:
        defect = _explained(defect, kept["explanation"])
    outcome = Outcome(
        _text(kept["workload"]), counted(kept["seed"]), _text(kept["strategy"]), Verdict.FINDING, 0, 0, (), b"", b"",
        _text(kept["schedule"]), defect=defect,
    )  # fmt: skip
    file = Path(_text(kept["file"])) if kept["file"] else None
    return Found(outcome, file, replay=replay_command(outcome.schedule, file), count=counted(kept["count"]))


def _explained(defect: Defect, kept: Mapping[str, Any]) -> Defect:
    broke = kept["broke"]
    held_until = broke["held_until"]
    texts = {key: _texts(broke[key]) for key in ("after", "entered", "found_in", "found_after")}
    return replace(
        defect,
        met=tuple(_step(one) for one in kept["met"]),
        concerns=_texts(kept["concerns"]),
        looks_like=_texts(kept["looks_like"]),
        broke=Break(
            held_until=None if held_until is None else counted(held_until),
            by=None if broke["by"] is None else _step(broke["by"]),
            looked=None if broke["looked"] is None else _step(broke["looked"]),
            came_back=None if broke["came_back"] is None else _step(broke["came_back"]),
            finder=_text(broke["finder"]),
            **texts,
        ),
    )


def _step(kept: Mapping[str, Any]) -> Step:
    return Step(
        _text(kept["actor"]), counted(kept["step"]), _text(kept["function"]), _text(kept["operation"]),
        _texts(kept["held"]), _texts(kept["callers"]),
    )  # fmt: skip


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list")
    return tuple(_text(one) for one in value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    value.encode()
    return value
