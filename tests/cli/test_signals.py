"""A signal ends each command with 130, at any moment: while it is imported, and while it runs."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest

from tests.fuzz import signals
from tests.helpers.ready import ksmactors_line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "number", "after", "ignored"),
    [("stress", signal.SIGINT, 0.3, False), ("run", signal.SIGHUP, 0.2, False), ("list", signal.SIGINT, 0.25, False)],
)
def test_signals_while_it_starts(
    command: str, number: signal.Signals, after: float, ignored: bool, tmp_path: Path
) -> None:
    """A signal while a command starts ends it with 130; `python -m tests.fuzz signals` strikes 200 times."""
    files = signals.Files("", "", "")
    assert signals.strike(command, number, after, files, tmp_path, ignored=ignored) in ("", signals.EARLY)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "number", "after", "ignored"),
    [
        ("stress", signal.SIGTERM, 0.4, True),
        ("run", signal.SIGHUP, 0.1, False),
        ("explore", signal.SIGTERM, 0.2, False),
    ],
)
def test_signals_while_it_runs(
    command: str, number: signal.Signals, after: float, ignored: bool, tmp_path: Path
) -> None:
    """A signal that comes once all is imported ends a command with 130, too."""
    files = signals.Files("", "", "")
    line = partial(signals.strike, command, number, after, files, tmp_path, program=ksmactors_line)
    assert line(ignored=ignored) in ("", signals.EARLY)
