"""What GitHub Actions shows of a step: annotations, and the summary of the job.

An annotation is a line on either stream of the step. The runner reads both; here they go to standard error, so that
`--json` stays one object on standard output. GitHub shows ten errors and ten warnings of a step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ksmactors.ci.checks import Check, Status, counted
from ksmactors.ci.runner import annotation
from ksmactors.ci.user_places import Workspace
from ksmactors.escaping import escaped, shortened
from ksmactors.files import append

ANNOTATIONS_MAX: Final = 10
"""Annotations of one level that GitHub shows of a step."""

SUMMARY_MAX: Final = 1 << 20
"""Bytes that the summary of a step may have; GitHub shows nothing of a larger one."""

ROWS_MAX: Final = 200
"""Rows of the table in a summary. With cells of at most CELL_MAX characters, escaped, it stays below SUMMARY_MAX."""

CELL_MAX: Final = 300
"""Characters of a cell."""

_LEVELS: Final = {Status.FAILED: "error", Status.CRASHED: "error", Status.INCONCLUSIVE: "warning"}

_PUNCTUATION: Final = re.compile(r"[!-/:-@\[-`{-~]")


def annotation_lines(checks: Sequence[Check], workspace: Workspace) -> Iterator[str]:
    """Yield a line for each check that did not pass, at most ten errors and ten warnings. Where there are more, the
    last one says how many."""
    for level in ("error", "warning"):
        meant = [check for check in checks if _LEVELS.get(check.status) == level]
        shown = meant if len(meant) <= ANNOTATIONS_MAX else meant[: ANNOTATIONS_MAX - 1]
        for check in shown:
            yield _annotation(level, check, workspace)
        left = len(meant) - len(shown)
        if left:
            text = f"{left} more are not shown here: see the log and the summary of this step"
            yield annotation(level, text, title="ksmactors")


def _annotation(level: str, check: Check, workspace: Workspace) -> str:
    """The line about one check."""
    place = workspace.place_of_check(check)
    where = {"file": place.path, "line": str(place.line)} if place is not None else {}
    return annotation(level, "\n".join(filter(None, (check.message, check.details))), **where, title=check.name)


def summarize(path: Path, command: str, checks: Sequence[Check], workspace: Workspace) -> str:
    """Append a summary in Markdown to the file that GitHub gives a step. Return what was wrong with that, or "".

    Args:
        path: the file, `GITHUB_STEP_SUMMARY`.
        command: the command's name.
        checks: what came of it.
        workspace: the user's repository.
    """
    data = summary(command, checks, workspace).encode()
    try:
        if path.exists() and path.stat().st_size + len(data) > SUMMARY_MAX:
            return f"GITHUB_STEP_SUMMARY {path}: would be larger than GitHub shows; nothing was added"
        append(path, data)
    except (OSError, ValueError) as error:
        return f"GITHUB_STEP_SUMMARY {path}: cannot be written ({getattr(error, 'strerror', None) or error})"
    return ""


def summary(command: str, checks: Sequence[Check], workspace: Workspace) -> str:
    """Return the summary in Markdown: how many checks came to what, and a table of those that did not pass."""
    lines = [f"### ksmactors {markdown(command)}: {counted(checks)}", ""]
    meant = [check for check in checks if check.status is not Status.PASSED]
    if meant:
        lines += ["| result | what | where | message |", "|---|---|---|---|"]
        lines += [_row(check, workspace) for check in meant[:ROWS_MAX]]
        lines += [f"| | {len(meant) - ROWS_MAX} more are not shown | | |"] if len(meant) > ROWS_MAX else []
        lines += [""]
    return "\n".join([*lines, ""])


def _row(check: Check, workspace: Workspace) -> str:
    place = workspace.place_of_check(check)
    where = f"{place.path}:{place.line}" if place is not None else ""
    message = markdown(check.message)
    if check.found is not None and check.found.replay:
        message += f"<br><code>{markdown(check.found.replay)}</code>"
    return f"| {check.status.value} | {markdown(check.name)} | {markdown(where)} | {message} |"


def markdown(text: str) -> str:
    """Return a text as Markdown that shows it and nothing else, on one line: punctuation cannot begin any markup, and
    control characters are visible."""
    line = escaped(text)
    return _PUNCTUATION.sub(lambda match: f"&#{ord(match[0])};", shortened(line, CELL_MAX))
