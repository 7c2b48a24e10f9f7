"""What a strategy needs before it decides a schedule: a profile of the workload, and warm-up schedules.

Both are functions of the subject and the seed, so the schedule is one, too. A campaign caches them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from ksmactors.interleave.profile import Profile
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.faults import named
from ksmactors.interleave.strategies.registry import parse
from ksmactors.interleave.strategies.round_robin import RoundRobin
from ksmactors.run.subject import Subject

CALIBRATION_STEPS: Final = 200_000
"""Steps after which a calibration is given up; the counts up to there are the profile."""

RunSchedule: TypeAlias = Callable[..., Awaitable[object]]
"""`run_schedule.run_schedule`."""


@contextmanager
def _output_discarded() -> Iterator[None]:
    """Discard what a workload prints in a warm-up schedule. Warnings are left for the schedules that follow."""
    with (
        warnings.catch_warnings(action="ignore"),
        open(os.devnull, "w", encoding="utf-8") as nowhere,  # noqa: PTH123
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        yield


@dataclass(slots=True)
class Calibration:
    """Prepares strategies. Its caches belong to one campaign and could be rebuilt at any time."""

    run: RunSchedule
    _profiles: list[tuple[Subject, Profile]] = field(default_factory=list)
    _warmed_up: dict[tuple[str, str], tuple[Subject, Strategy, list[int]]] = field(default_factory=dict)

    async def strategy(self, subject: Subject, seed: int, text: str) -> Strategy:
        """Return a strategy prepared for the schedule of a seed: profiled and warmed up.

        Raises:
            UsageError: there is no such strategy.
        """
        deciding = parse(text)
        if deciding.wants_profile:
            deciding.profile = await self.profile(subject)
        try:
            wanted, warmed = list(deciding.warmup_seeds(seed)), []
        except Exception as error:
            raise named(error) from error.__cause__
        if wanted:
            known, prepared, before = self._warmed_up.get((subject.name, text), (subject, deciding, []))
            if known is subject and before == wanted[: len(before)]:
                deciding, warmed = prepared, before
        for earlier in wanted[len(warmed) :]:
            with _output_discarded():
                await self.run(subject, earlier, text, deciding=deciding)
        self._warmed_up[subject.name, text] = subject, deciding, [*wanted, seed]
        return deciding

    async def profile(self, subject: Subject) -> Profile:
        """Return the counts of one schedule of a subject in the default order.

        The watchers and the step limit of the subject do not matter to it, so they do not affect any choice.
        """
        for known, profile in self._profiles:
            if known is subject:
                return profile
        profile = Profile()
        quiet = replace(subject, watchers=(), max_steps=CALIBRATION_STEPS)
        with _output_discarded():
            await self.run(quiet, 0, RoundRobin.name, deciding=RoundRobin(), observing=profile)
        self._profiles.append((subject, profile))
        return profile
