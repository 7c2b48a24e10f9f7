"""Restores KSM's knobs when the process that changed them is gone, however it ended.

Run as a script by `live`, in a session of its own, before any knob is changed. It reads the value of every knob as one
JSON object on a line, reports that it is ready, and waits for the end of its standard input. That comes when the other
end is closed: at the end of a run, or when the process is killed.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Final

ADVISOR: Final = "advisor_mode"
LAST: Final = "run"


def store(directory: Path, knob: str, value: str) -> str:
    """Write one knob; return an error message, or ""."""
    try:
        (directory / knob).write_text(value)
    except OSError as error:
        return f"{knob} could not be set back to {value}: {error.strerror}"
    return ""


def restore(directory: Path, knobs: dict[str, str]) -> list[str]:
    """Unmerge all pages and restore every knob; return the error messages."""
    steps = [(LAST, "2")]
    if ADVISOR in knobs:
        steps.append((ADVISOR, "none"))  # pages_to_scan is the advisor's while there is one
    steps += [(knob, value) for knob, value in knobs.items() if knob not in (ADVISOR, LAST)]
    steps += [(knob, knobs[knob]) for knob in (ADVISOR, LAST) if knob in knobs]
    return [problem for knob, value in steps if (problem := store(directory, knob, value))]


def main() -> int:
    """Started by `live`; returns 1 if a knob could not be restored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    saved = json.loads(sys.stdin.readline())
    print("ready", flush=True)  # noqa: T201  # for the process that waits for it
    sys.stdin.read()
    problems = restore(Path(saved["directory"]), saved["knobs"])
    for problem in problems:
        print(f"ksmactors: {problem}", file=sys.stderr)  # noqa: T201  # a script of its own, with no click
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
