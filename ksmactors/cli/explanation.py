"""What `replay --explain` does once the replay has run: look at the schedule again, and show it."""

from __future__ import annotations

from functools import partial
from typing import Any

from ksmactors.aside import stderr, stdout
from ksmactors.cli.screen import console
from ksmactors.diagnose.explained import Explained, explained
from ksmactors.diagnose.replaying import Recorded
from ksmactors.quantity import quantity
from ksmactors.run.async_run import run_async
from ksmactors.run.outcome import Outcome


class Explanation:
    """The explanation of a recorded schedule that has been replayed.

    Args:
        then: what was recorded.
        quiet: whether progress is not shown.
        color: as `--color`.
    """

    def __init__(self, then: Recorded, *, quiet: bool, color: str) -> None:
        self._then, self._quiet, self._color = then, quiet, color
        self._made: Explained | None = None

    def as_json(self, outcome: Outcome) -> dict[str, Any]:
        """What it adds to the JSON object; `outcome` is what the replay came to."""
        return {"explained": self._explained(outcome).as_json()}

    def show(self, outcome: Outcome) -> None:
        """Print it on standard output, as wide as the terminal."""
        from ksmactors.cli.explained import print_explained, terminal_width  # rich is imported when it is wanted

        one = self._explained(outcome)
        print_explained(one, console(stdout(), self._color, width=terminal_width()))

    def _explained(self, outcome: Outcome) -> Explained:
        if self._made is None:
            self._made = run_async(partial(explained, self._then, outcome, on_try=self._on_try))
        return self._made

    def _on_try(self, tried: int, left: int) -> None:
        if not self._quiet and stderr().isatty():
            console(stderr(), self._color).print(
                f"{quantity(tried, 'schedule')} tried, {quantity(left, 'departure')} left", end="\r"
            )
