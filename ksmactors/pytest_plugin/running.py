"""A test under its schedules: what is run, how it fails, and what is said about that."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, cast

import anyio
import pytest

from ksmactors.call_stack import traceback_from
from ksmactors.campaign.findings import default_directory, prepare, read, save
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.campaign.summary import Summary
from ksmactors.cli.explained import lines, terminal_width
from ksmactors.diagnose.explained import Explained, explained
from ksmactors.diagnose.replaying import Recorded, recorded_as
from ksmactors.errors import UsageError
from ksmactors.interleave.schedule_string import decode
from ksmactors.places import is_authors
from ksmactors.pytest_plugin.fixtures import OfSchedule
from ksmactors.pytest_plugin.marker import InterleaveOptions
from ksmactors.pytest_plugin.subjects import OUTCOMES, TestProgram
from ksmactors.quantity import quantity
from ksmactors.run.ceilings import ceiling
from ksmactors.run.header import checked_header
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.tests import pytest_command
from ksmactors.watch import current_signature

TITLE: Final = "interleaving"

HEAD_LINES: Final = 6
TAIL_LINES: Final = 60
"""Lines of the interleaving that are shown without -vv, if there are more: what it is, and how it ends."""


class TestFailure(Exception):  # what happened
    """A schedule of a test failed: what led there, and how many had been run. `then` is None unless it was replayed."""

    __test__ = False

    def __init__(self, outcome: Outcome, tally: Summary, then: Recorded | None) -> None:
        super().__init__(outcome.defect.signature if outcome.defect is not None else "")
        self.outcome, self.tally, self.then = outcome, tally, then
        self.error: BaseException = self
        self.traceback: TracebackType | None = None
        self.text = ""
        self.title = TITLE


class TestCampaign:
    """The schedules of one test.

    Attributes:
        schedules, distinct: how many were run, and how many of them were different.
        note: what must be said of a replay that passed.
    """

    __test__ = False

    def __init__(self, item: pytest.Function, asked: InterleaveOptions) -> None:
        self._item, self._asked = item, asked
        self._program = cast("TestProgram", asked.subject.workload)
        self._program.captured = item.config.getoption("capture", "fd") != "no"
        self._then = self._recorded(item.config.getoption("interleave_replay"))
        self._examples = False
        """Whether hypothesis draws examples: a recorded schedule fits one of them."""
        self.schedules = self.distinct = 0
        self.note = ""

    def _recorded(self, source: str | None) -> Recorded | None:
        """What `--interleave-replay` names: its choices, for the test as it is now. No code that it names is loaded."""
        if source is None:
            return None
        content = read(source)
        schedule = decode(content["schedule"])
        header = checked_header(schedule.header)
        schedule.ceiling = ceiling(self._asked.subject.nodes)
        signature = current_signature(content.get("signature", ""))
        return Recorded(self._asked.subject, header.seed, header.strategy, schedule, header.digest, signature)

    # -- running ------------------------------------------------------------------------------------------------------

    def call(self, function: Callable[..., Awaitable[None]], given: Mapping[str, Any] | None = None) -> None:
        """Run an async function under all schedules.

        Args:
            function: the test.
            given: its arguments; default: the fixtures that it takes.

        Raises:
            TestFailure: a schedule failed.
            KeyboardInterrupt: as usual.
        """
        __tracebackhide__ = True
        arguments = self._fixtures_of(function) if given is None else given
        stand_ins = [one for one in self._item.funcargs.values() if isinstance(one, OfSchedule)]

        async def body(now: Mapping[str, Any]) -> None:
            for one in stand_ins:
                vars(one)["_now"] = now.get(one._name)
            try:
                await function(
                    **{
                        name: now[value._name] if isinstance(value, OfSchedule) else value
                        for name, value in arguments.items()
                    }
                )
            finally:
                for one in stand_ins:
                    vars(one)["_now"] = None

        self._program.body = body
        self._run()

    def call_with_hypothesis(self, function: Any, inner: Callable[..., Awaitable[None]]) -> None:
        """Run an async function that hypothesis gives its arguments: each example under all schedules.

        Raises:
            TestFailure: a schedule failed, of the smallest example.
        """
        __tracebackhide__ = True
        before = function.hypothesis.inner_test

        def example(*args: Any, **given: Any) -> None:
            __tracebackhide__ = True
            self.call(partial(inner, *args), given)

        function.hypothesis.inner_test, self._examples = example, True
        try:
            function(**self._fixtures_of(function))
        finally:
            function.hypothesis.inner_test = before

    def _fixtures_of(self, function: Callable[..., Any]) -> dict[str, Any]:
        funcargs = self._item.funcargs
        return {name: funcargs[name] for name in inspect.signature(function).parameters if name in funcargs}

    def _run(self) -> None:
        __tracebackhide__ = True
        asked, then = self._asked, self._then
        if then is None:
            seeds = self._item.config.getoption("interleave_seeds") or asked.seeds
            plan = Plan([asked.subject], seeds, asked.strategy)
        else:
            plan = Plan([asked.subject], range(then.seed, then.seed + 1), then.strategy, replayed=then.schedule)
        campaign = Campaign(plan, stop_at_first=True)
        anyio.run(campaign.run, backend="trio")
        tally = campaign.tally
        self.schedules += tally.schedules
        self.distinct += tally.distinct
        if campaign.interrupted_at is not None:
            raise KeyboardInterrupt
        failed = tally.crash or next(iter(tally.found.values()), None) or tally.given_up
        outcome = campaign.last if then is not None else failed.outcome if failed is not None else None
        if outcome is not None and outcome.verdict is Verdict.DIVERGED and self._examples:
            return
        if outcome is not None and outcome.defect is not None:
            cause = _cause(outcome)
            if isinstance(cause, OUTCOMES) and not isinstance(cause, pytest.fail.Exception):
                raise cause  # such as a skip
            raise TestFailure(outcome, tally, then)

    # -- a failure ----------------------------------------------------------------------------------------------------

    def describe(self, failure: TestFailure) -> bool:
        """Shorten and explain the schedule that failed, and keep it in a file. Returns False if a replay that does not
        fit any more leads to no failure."""
        item, subject = self._item, self._asked.subject
        if isinstance(ending := _cause(failure.outcome), OUTCOMES):  # a timeout, too: once is enough
            failure.error, failure.traceback = ending, traceback_from(ending, is_authors)
            failure.text = "\n".join((self._which(failure), *self._replays(failure.outcome)))
            return True
        then = failure.then or recorded_as(subject, failure.outcome)
        tries = max(0, item.config.getoption("interleave_shrink"))
        one: Explained = anyio.run(partial(explained, then, failure.outcome, max_schedules=tries), backend="trio")
        shown = one.outcome
        if failure.then is not None and shown.verdict is Verdict.DIVERGED:
            self.note = "the recorded steps do not fit any more; its departures, followed by name, lead to no failure"
            return False
        self._show_output()
        error = shown.error if shown.error is not None else failure.outcome.error
        assert error is not None, "a schedule that failed has an error"
        cause = _cause(shown)
        failure.error = cause or error
        if cause is not None or shown.verdict is Verdict.BROKEN:  # then its place in the code says more than all else
            failure.traceback = traceback_from(failure.error, is_authors)
        notes = getattr(failure, "__notes__", [])
        for note in notes:
            failure.error.add_note(note)
        failure.text = "\n".join((*self._story(one), "", self._which(failure), *self._replays(shown), *notes))
        return True

    def _show_output(self) -> None:
        """Show what the schedule that is shown has printed: it was run last."""
        for text, stream in zip(self._program.output, (sys.stdout, sys.stderr), strict=True):
            stream.write(text)

    def _which(self, failure: TestFailure) -> str:
        """Which schedule it was."""
        outcome = failure.outcome
        if failure.then is not None:
            return "this is the recorded schedule"
        if outcome.verdict is Verdict.INCONCLUSIVE:
            return f"inconclusive: seed {outcome.seed} ran out of steps; raise max_steps, unless this is a livelock"
        return f"schedule {failure.tally.schedules:,} of {len(self._seeds):,}, that of seed {outcome.seed}, failed"

    def _story(self, one: Explained) -> list[str]:
        story = [line.plain.rstrip() for line in lines(one, terminal_width())]
        left_out = len(story) - HEAD_LINES - TAIL_LINES
        if left_out < 10 or self._item.config.get_verbosity() > 1:
            return story
        between = f"... {quantity(left_out, 'line')} left out; with -vv, pytest shows them ..."
        return [*story[:HEAD_LINES], between, *story[-TAIL_LINES:]]

    @property
    def _seeds(self) -> range:
        return self._item.config.getoption("interleave_seeds") or self._asked.seeds

    def _replays(self, outcome: Outcome) -> list[str]:
        """How to replay the schedule that is shown."""
        here = self._item.config.invocation_params.dir
        name = f"{_from(here, self._item.path)}{self._item.nodeid[self._item.nodeid.index('::') :]}"
        if not outcome.schedule or self._then is not None:
            return []
        try:
            file = _from(here, save(outcome, self._directory(), again=True))
        except (OSError, UsageError) as error:
            return [f"the finding file cannot be written: {error}", f"replay: {pytest_command(name, outcome.schedule)}"]
        return [f"replay: {pytest_command(name, file)}"]

    def _directory(self) -> Path:
        config = self._item.config
        out = config.getoption("interleave_out")
        if out is not None:
            return prepare(config.invocation_params.dir / out)
        if config.pluginmanager.has_plugin("cacheprovider") and config.cache is not None:
            return config.cache.mkdir("interleave")
        return prepare(default_directory())


def _cause(outcome: Outcome) -> BaseException | None:
    """The exception of the test, or of pytest, that ended a schedule."""
    return outcome.error.__cause__ if outcome.error is not None else None


def _from(here: Path, path: Path) -> str:
    """A path as a person in a folder would write it."""
    relative = os.path.relpath(path, here)
    return str(path) if relative.startswith(os.pardir) and path.is_absolute() and here not in path.parents else relative
