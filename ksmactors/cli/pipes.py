"""Named pipes that are read as logs: a command that waits for one says so."""

from __future__ import annotations

from ksmactors.analysis.opening import tell_of_wait
from ksmactors.cli.screen import notice


def tell_of_silent_pipes() -> None:
    """From now on, say which pipe nothing is written into."""
    tell_of_wait.set(lambda path: notice(f"{path}: a pipe; waiting for a program that writes a log into it"))
