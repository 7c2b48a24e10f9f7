"""Findings as JSON has them, for files that are read back. What is read may come from somebody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ksmactors.campaign.findings import replay_command, without_schedule
from ksmactors.campaign.summary import Found, counted
from ksmactors.escaping import quoted
from ksmactors.run.outcome import EXPLAINED, Break, Defect, Outcome, Step, Verdict


def record_of(found: Found) -> dict[str, Any]:
    """Return a finding as JSON has it. It must be one of a schedule."""
    outcome, defect = found.outcome, asdict(found.defect)
    explanation = {name: defect.pop(name) for name in EXPLAINED}
    return {
        "defect": defect, "explanation": explanation if found.defect.broke is not None else None,
        "workload": outcome.workload, "seed": outcome.seed,
        "verdict": outcome.verdict.value,
        "strategy": outcome.strategy, "schedule": outcome.schedule, "count": found.count,
        "file": str(found.file) if found.file else None,
    }  # fmt: skip


def found_of(kept: Mapping[str, Any]) -> Found:
    """Return the finding that `record_of` has written.

    Raises:
        LookupError, TypeError, ValueError: it is none.
    """
    plain: dict[str, Any] = {
        key: tuple(_text(one) for one in value) if isinstance(value, list) else value
        for key, value in kept["defect"].items()
        if key not in EXPLAINED
    }
    defect = Defect(**plain)
    for name in ("kind", "watcher", "signature", "message", "traceback", "place"):
        _text(getattr(defect, name))
    for several in (defect.actors, defect.functions, defect.story):
        if not isinstance(several, tuple):
            raise ValueError(f"{quoted(several)} is no list")
    if len(defect.actors) != len(defect.functions):
        raise ValueError("a finding whose actors are not in functions")
    counted(defect.step)
    if kept.get("explanation") is not None:
        defect = _explained(defect, kept["explanation"])
    outcome = Outcome(
        _text(kept["workload"]), counted(kept["seed"]), _text(kept["strategy"]),
        Verdict(kept.get("verdict", Verdict.FINDING.value)), 0, 0, (), b"", b"",
        _text(kept["schedule"]), defect=defect,
    )  # fmt: skip
    file = Path(_text(kept["file"])) if kept["file"] else None
    count = counted(kept["count"])
    if not outcome.schedule:
        return Found(outcome, problem=without_schedule(outcome), count=count)
    return Found(outcome, file, replay=replay_command(outcome.schedule, file), count=count)


def _explained(defect: Defect, kept: Mapping[str, Any]) -> Defect:
    broke = kept["broke"]
    held_until = broke["held_until"]
    texts = {key: _texts(broke[key]) for key in ("after", "entered", "found_in", "found_after")}
    return replace(
        defect,
        met=tuple(_step(one) for one in kept["met"]),
        concerns=_texts(kept["concerns"]),
        looks_like=_texts(kept["looks_like"]),
        symptom_of=_texts(kept.get("symptom_of", [])),
        broke=Break(
            held_until=None if held_until is None else counted(held_until),
            by=None if broke["by"] is None else _step(broke["by"]),
            looked=None if broke["looked"] is None else _step(broke["looked"]),
            came_back=None if broke["came_back"] is None else _step(broke["came_back"]),
            finder=_text(broke["finder"]),
            instead=tuple(_step(one) for one in broke.get("instead", [])),
            waits=_texts(broke.get("waits", [])),
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
        raise ValueError(f"{quoted(value)} is no list")
    return tuple(_text(one) for one in value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{quoted(value)} is no text")
    value.encode()
    return value
