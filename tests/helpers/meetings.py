"""A litmus test, and where it is run, for those who go through all of its schedules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ksmactors.campaign.explore import MAX_STEPS, Budget, Exploration, exploring
from ksmactors.campaign.state_file import perform
from ksmactors.interleave.search.base import Search
from ksmactors.run.subject import make_subject

WEAK = "weak-memory"
BY_NODE, LOCK, CACHED = {"merge_across_nodes": 0}, {"lock": 1}, {"swap_cache": 1}


@dataclass(frozen=True)
class Meeting:
    """The litmus test of this name, with the rest as on the command line."""

    litmus: str
    params: Mapping[str, int] = field(default_factory=dict)
    with_: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    kernel: str = "series"

    def explored(self, search: Search, schedules: int, *, watch: str = "all", first: bool = False) -> Exploration:
        """Its exploration, over after so many schedules, or if wanted at the first finding."""
        subject = make_subject(
            f"litmus.{self.litmus}", params=self.params, kernel=self.kernel, without=self.without, with_=self.with_,
            watch=watch, max_steps=MAX_STEPS,
        )  # fmt: skip
        exploration = exploring(subject, search, Budget(schedules, stop_at_first=first), None)
        perform(exploration, resume=False)
        return exploration

    def __str__(self) -> str:
        params = (f"{name}={value}" for name, value in self.params.items())
        undone = (f"no-{slug}" for slug in self.without)
        return " ".join([self.litmus, *params, *self.with_, *undone, self.kernel])
