"""Finding files: what is found is written at once, to a file of its own, with all that a replay needs."""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path
from shlex import quote
from typing import Any, Final

import orjson

from ksmactors.campaign.outcome import Outcome, campaign_hash
from ksmactors.campaign.tally import Found
from ksmactors.errors import EmulatorBug, ScheduleFormatError, UsageError
from ksmactors.interleave.schedule import PREFIX, looks_like_schedule

FORMAT: Final = 1
"""Version of the finding file; a reader refuses another one."""


def default_directory() -> Path:
    """`findings` in the state directory of the XDG rules."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return base / "ksmactors" / "findings"


def prepare(directory: Path) -> Path:
    """Create the directory for findings, so that a wrong one is told before the campaign and not after it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {directory}: cannot be created ({error.strerror}); name another directory") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise UsageError(f"--out {directory}: is not writable; name another directory")
    return directory


def save(outcome: Outcome, directory: Path) -> Path:
    """Write the outcome's defect to a new file in `directory` and return its path.

    The file is created exclusively: two campaigns that write to one directory never get the same one.
    """
    defect = outcome.defect
    assert defect is not None
    stem = f"{defect.watcher}-{defect.kind}-{slug(outcome.workload)}-{outcome.seed}"
    content = {"format": FORMAT, **outcome.finding(), "workload": outcome.workload, "strategy": outcome.strategy}
    content |= {
        "verdict": outcome.verdict.value,
        "digest": campaign_hash(outcome.digest).hexdigest(),
        "story": list(defect.story),
    }
    if defect.traceback:
        content["traceback"] = defect.traceback
    for number in count(1):
        path = directory / (f"{stem}.json" if number == 1 else f"{stem}.{number}.json")
        content |= {"file": str(path), "replay": replay_command(path)}
        try:
            with path.open("xb") as file:
                file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        except FileExistsError:
            continue
        return path
    raise EmulatorBug("the numbers have ended")


def kept(outcome: Outcome, directory: Path) -> Found:
    """The defect of an outcome in a file of its own; where that cannot be written, with its schedule and the reason."""
    try:
        file = save(outcome, directory)
    except OSError as error:
        problem = f"the finding file cannot be written: {error}"
        return Found(outcome, problem=problem, replay=replay_command(outcome.schedule))
    return Found(outcome, file, replay=replay_command(file))


def replay_command(source: Path | str) -> str:
    """The command line that replays a finding file or a schedule string."""
    return f"ksmactors replay {quote(str(source))}"


def read(source: str) -> dict[str, Any]:
    """Read what `replay` is given: a finding file, a file that holds a schedule string, `-`, or such a string.

    Returns at least `schedule`; for a finding file all that is in it.
    """
    text = _text_of(source)
    if text.lstrip().startswith("{"):
        return _finding(source, text)
    schedule = "".join(text.split())
    if not looks_like_schedule(schedule):
        raise ScheduleFormatError(
            f"{source}: is neither a finding file nor a schedule string (a schedule string starts with {PREFIX}, "
            f"this starts with {schedule[:12]!r})"
        )
    return {"schedule": schedule}


def _text_of(source: str) -> str:
    if not source:
        raise UsageError("an empty name: give a finding file, a schedule string, or - for stdin")
    try:
        if source == "-":
            return sys.stdin.read()
        if looks_like_schedule(source):
            return source
        return Path(source).read_text("utf-8")
    except OSError as error:
        raise UsageError(
            f"{source}: cannot be read ({error.strerror}); give a finding file, a schedule string, or - for stdin"
        ) from None
    except UnicodeDecodeError:
        raise ScheduleFormatError(f"{source}: is neither a finding file nor a schedule string (not text)") from None


def _finding(source: str, text: str) -> dict[str, Any]:
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ScheduleFormatError(f"{source}: is no finding file: {error}") from None
    if content.get("format", FORMAT) != FORMAT:
        raise ScheduleFormatError(f"{source}: is in format {content['format']}, this version reads {FORMAT}")
    if not isinstance(content.get("schedule"), str) or not looks_like_schedule(content["schedule"]):
        raise ScheduleFormatError(f"{source}: holds no schedule; was it written by `ksmactors stress`?")
    found: dict[str, Any] = content
    return found


def slug(name: str) -> str:
    """A workload's name as a part of a file's name."""
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in name.rpartition("/")[2])
