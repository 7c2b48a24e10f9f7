"""Finding files: what is found is written at once, to a file of its own, with all that a replay needs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from itertools import count, takewhile
from pathlib import Path
from shlex import quote
from typing import Any, Final

import orjson

from ksmactors.campaign.summary import Found
from ksmactors.errors import EmulatorBug, ScheduleFormatError, UsageError
from ksmactors.escaping import encodable, quoted, shortened
from ksmactors.files import MIB, make_private, read_bounded, write_atomically, write_new
from ksmactors.interleave.schedule_string import PREFIX, header_of, looks_like_schedule
from ksmactors.run.header import TEXT_MAX, checked_header, is_text
from ksmactors.run.outcome import Outcome, campaign_hash
from ksmactors.run.packages import named_in, packages_of
from ksmactors.run.tests import is_test, pytest_command
from ksmactors.run.trust import needs_trust

FORMAT: Final = 1
"""Version of the finding file; a reader refuses another one."""

FILE_MAX: Final = 64 * MIB
"""Bytes of a finding file. The longest schedules within the default step limit take some ten MiB."""

EXPECTED: Final = ("fails", "passes")
"""What a finding file may say of its replay, as `expected`: the finding shows again, or nothing is found any more. A
file without it is expected to fail. Readers of older versions take no notice."""

SLUG_MAX: Final = 60
"""Characters of a name that go into a file's name."""


def state_directory() -> Path:
    """The state directory of the XDG rules."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"


def default_directory() -> Path:
    """`findings` in the state directory of the XDG rules."""
    return state_directory() / "ksmactors" / "findings"


def prepare(directory: Path) -> Path:
    """Create the directory for findings, so that a wrong one is reported before the campaign and not after it.

    The default one is private. It may hold what the user's files and kernels have in them.
    """
    try:
        if directory == default_directory():
            make_private(directory, state_directory())
        else:
            directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--out {directory}: cannot be created ({reason}); name another directory") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise UsageError(f"--out {directory}: is not writable; name another directory")
    return directory


def save(outcome: Outcome, directory: Path, *, cause: dict[str, Any] | None = None, again: bool = False) -> Path:
    """Write the outcome's defect to a new file in `directory` and return its path. `cause` is what made the difference,
    if that has been asked (`diagnose.cause`). `again`: a file that has this schedule already will do.

    The file is created exclusively: two campaigns that write to one directory never get the same one. It is there
    with all that is in it, or not at all.
    """
    defect = outcome.defect
    assert defect is not None
    content = {"format": FORMAT, **outcome.finding(), "workload": outcome.workload, "strategy": outcome.strategy}
    content |= {
        "verdict": outcome.verdict.value,
        "digest": campaign_hash(outcome.digest).hexdigest(),
        "story": list(defect.story),
    }
    if defect.traceback:
        content["traceback"] = defect.traceback
    if cause is not None:
        content["made_the_difference"] = cause
    header = header_of(outcome.schedule)
    if packages := packages_of(named_in(header, str(header["strategy"]))):
        content["plugins"] = packages
    if outcome.sources:
        content["sources"] = [source.as_json(directory) for source in outcome.sources]
    for path in _candidates(outcome, directory):
        if os.path.lexists(path):
            if again and _schedule_in(path) == outcome.schedule:
                return path
            continue
        content |= {"file": str(path.absolute()), "replay": replay_command(outcome.schedule, path.absolute())}
        try:
            write_new(path, _json(content))
        except FileExistsError:
            continue
        return path
    raise EmulatorBug("the numbers have ended")


def _candidates(outcome: Outcome, directory: Path) -> Iterator[Path]:
    """The names that a finding file may have, without an end: the first that is free is taken."""
    defect = outcome.defect
    assert defect is not None
    stem = f"{slug(defect.watcher)}-{slug(defect.kind)}-{slug(outcome.workload)}-{outcome.seed}"
    return (directory / (f"{stem}.json" if number == 1 else f"{stem}.{number}.json") for number in count(1))


def existing(outcome: Outcome, directory: Path) -> Path | None:
    """The finding file of an outcome in a directory, if it is there."""
    for path in takewhile(os.path.lexists, _candidates(outcome, directory)):
        if _schedule_in(path) == outcome.schedule:
            return path
    return None


def _schedule_in(path: Path) -> str:
    """The schedule string in a finding file; empty if it is none."""
    try:
        return str(read(str(path))["schedule"])
    except UsageError:
        return ""


def kept(outcome: Outcome, directory: Path, *, cause: dict[str, Any] | None = None, again: bool = False) -> Found:
    """The defect of an outcome in a file of its own; where that cannot be written, with its schedule and the reason.
    `cause` and `again` are as for `save`."""
    try:
        file = save(outcome, directory, cause=cause, again=again)
    except OSError as error:
        problem = f"the finding file cannot be written: {error}"
        return Found(outcome, problem=problem, replay=replay_command(outcome.schedule))
    return Found(outcome, file, replay=replay_command(outcome.schedule, file))


def replay_command(schedule: str, file: Path | None = None) -> str:
    """The command line that replays a schedule string or the finding file that holds it: from any folder if its path is
    absolute, else from this one."""
    name = checked_header(header_of(schedule)).workload
    if is_test(name):
        return pytest_command(name, schedule if file is None else file)
    trust = "--trust " if needs_trust(schedule) else ""
    return f"ksmactors replay {trust}{quote(schedule if file is None else str(file))}"


def without_schedule(outcome: Outcome) -> str:
    """Why a finding has no schedule string, and what to do without it."""
    return (
        "there is no schedule string, since its process died; this may kill the process: "
        f"ksmactors run {quote(outcome.workload)} --seed {outcome.seed} --strategy {quote(outcome.strategy)}"
    )


def _json(content: dict[str, Any]) -> bytes:
    """The text of a finding file. What UTF-8 does not have, such as a lone surrogate in a message, is written out."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    try:
        return orjson.dumps(content, option=option)
    except TypeError:
        return f"{json.dumps(encodable(content), indent=2)}\n".encode()


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
            f"this starts with {quoted(schedule, 12)})"
        )
    return {"schedule": schedule}


def _text_of(source: str) -> str:
    if not source:
        raise UsageError("an empty name: give a finding file, a schedule string, or - for stdin")
    if looks_like_schedule(source):
        return source
    try:
        if source == "-":
            text = sys.stdin.read(FILE_MAX + 1)
            if len(text) > FILE_MAX:
                raise UsageError(f"standard input: is larger than {FILE_MAX // MIB} MiB, the most that is read")
            return text
        return read_bounded(source, FILE_MAX, "finding file").decode("utf-8")
    except OSError as error:
        raise UsageError(f"standard input: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ScheduleFormatError(f"{source}: is neither a finding file nor a schedule string (not text)") from None


def _finding(source: str, text: str) -> dict[str, Any]:
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ScheduleFormatError(f"{source}: is no finding file: {error}") from None
    if content.get("format", FORMAT) != FORMAT:
        other = shortened(str(content["format"]), 20)
        raise ScheduleFormatError(f"{source}: is in format {other}, this version reads {FORMAT}")
    if not isinstance(content.get("schedule"), str) or not looks_like_schedule(content["schedule"]):
        raise ScheduleFormatError(f"{source}: holds no schedule; was it written by `ksmactors stress`?")
    if not is_text(content.get("signature", "")):
        what = f"its signature is no text of at most {TEXT_MAX} characters"
        raise ScheduleFormatError(f"{source}: {what}; was it written by `ksmactors stress`?")
    if content.get("expected", EXPECTED[0]) not in EXPECTED:
        raise ScheduleFormatError(f"{source}: its expected must be {' or '.join(EXPECTED)}")
    found: dict[str, Any] = content
    return found


CLAIMS: Final = ("digest", "verdict", "step", "message", "seed")
"""What a finding file says of its schedule, apart from its signature, that a replay can confirm. Names of code are
not among them: they may have changed since."""


def wrong_claims(content: Mapping[str, Any], outcome: Outcome) -> list[str]:
    """Return what a finding file says otherwise than its replay, each as `step 5 (it is 412)`.

    Args:
        content: what `read` returned; a file that says nothing is never wrong.
        outcome: the replay, which came to the same as the schedule string says.
    """
    digest = campaign_hash(outcome.digest).hexdigest()
    now = {**outcome.finding(), "verdict": outcome.verdict.value, "digest": digest}
    return [
        f"{key} {quoted(content[key])} (it is {quoted(now[key])})"
        for key in CLAIMS
        if key in content and key in now and content[key] != now[key]
    ]


def expected_of(content: dict[str, Any]) -> str:
    """What a finding file says of its replay: one of EXPECTED."""
    expected: str = content.get("expected", EXPECTED[0])
    return expected


def set_expected(file: str, expected: str) -> None:
    """Write into a finding file what its replay is expected to come to.

    Raises:
        UsageError: it is no finding file, or cannot be read or written.
    """
    content = read(file)
    if "signature" not in content or file == "-":
        raise UsageError(f"{file}: is no finding file; only these say what is expected of them")
    path = Path(file)
    try:
        mode = path.stat().st_mode & 0o777
        write_atomically(path, _json({**content, "expected": expected}))
        path.chmod(mode)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None


def slug(name: str) -> str:
    """A name as a part of a file's name: of a workload, or of a user's watcher, and of what it finds."""
    last = name.rpartition("/")[2][:SLUG_MAX]
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in last)
