"""A signal ends each command with 130, at any moment."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.fuzz import signals


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "number", "after", "ignored"),
    [
        ("stress", signal.SIGINT, 0.3, False), ("stress", signal.SIGTERM, 1.5, True),
        ("run", signal.SIGHUP, 0.6, False),
        ("explore", signal.SIGTERM, 1.2, False), ("list", signal.SIGINT, 0.4, False),
    ],
)  # fmt: skip
def test_signals(command: str, number: signal.Signals, after: float, ignored: bool, tmp_path: Path) -> None:
    """A signal at some moment ends a command with 130; `python -m tests.fuzz signals` strikes 200 times."""
    files = signals.Files("", "", "")
    assert signals.strike(command, number, after, files, tmp_path, ignored=ignored) in ("", signals.EARLY)
