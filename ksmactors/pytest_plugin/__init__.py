"""The pytest plug-in: `@pytest.mark.interleave` runs an async test under many schedules.

pytest loads this module in every run where ksmactors is installed, so it imports nothing heavy: what runs schedules is
imported by the first test that has the marker.

The hooks, in the order in which pytest calls them. Collection checks the marker of each test; a wrong one is an error
of its module. `pytest_pyfunc_call` comes before those of pytest-trio, pytest-asyncio and anyio, and calls the function
as its author wrote it; what they made of the item is never called. The report of a failed test gets the interleaving
and the command that replays it. The closing summary counts schedules, also of xdist's workers: their reports carry
them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ksmactors.errors import UsageError
from ksmactors.pytest_plugin.fixtures import host, machine, table
from ksmactors.pytest_plugin.marker import (
    DEFAULT_SEEDS,
    DEFAULT_SHRINK,
    INNER,
    MARKER,
    InterleaveOptions,
    asked_of,
    original_function,
    recorded_test,
    seeds_option,
)
from ksmactors.quantity import quantity

if TYPE_CHECKING:
    from ksmactors.pytest_plugin.running import TestFailure

__all__ = ["host", "machine", "table"]

ASKED = pytest.StashKey[InterleaveOptions]()
FAILURE: pytest.StashKey[TestFailure] = pytest.StashKey()
INSIDE = pytest.StashKey[Any]()
"""The async function inside of a hypothesis test, as its author wrote it."""

SCHEDULES = "interleave_schedules"
DISTINCT = "interleave_distinct"
NOTE = "interleave_note"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plug-in."""
    group = parser.getgroup("interleave", "many schedules of a test (ksmactors)")
    group.addoption(
        "--interleave-seeds", metavar="N|A:B", type=seeds_option,
        help="Run each marked test under the seeds 0..N-1, or A..B-1, whatever its marker says.",
    )  # fmt: skip
    group.addoption(
        "--interleave-replay",
        metavar="FILE|SCHEDULE",
        help="Run the test of a finding, and only it, under the recorded schedule.",
    )
    group.addoption(
        "--interleave-out",
        metavar="DIR",
        help="Where findings go [default: d/interleave in pytest's cache directory].",
    )
    group.addoption(
        "--interleave-shrink", metavar="N", type=int, default=DEFAULT_SHRINK,
        help=f"Schedules tried to shorten a failing one before it is shown; 0: none [default: {DEFAULT_SHRINK}].",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(seeds={DEFAULT_SEEDS}, strategy='portfolio', **options): run the async test under so many "
        "schedules; options: params, kernel, nodes, without, with_, watch, inject, max_steps, as of `ksmactors stress`",
    )


# -- collection -------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class) -> Generator[None, Any, Any]:
    """Check the markers of new items: a wrong one is an error of the module that is being collected."""
    found = yield
    for item in found if isinstance(found, list) else [found]:
        if isinstance(item, pytest.Function):
            try:
                _check(item)
            except UsageError as error:
                raise collector.CollectError(f"{item.nodeid}: {error}") from None
    return found


def _check(item: pytest.Function) -> None:
    """Store what the marker of an item asks for, if it has one."""
    if ASKED not in item.stash and item.get_closest_marker(MARKER) is not None:
        item.stash[ASKED] = asked_of(item)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check what got its marker after it was collected, and leave only the test that is replayed."""
    for item in items:
        if item.get_closest_marker(MARKER) is None:
            continue
        try:
            if not isinstance(item, pytest.Function) or hasattr(item.cls, "assertEqual"):
                raise UsageError(f"@pytest.mark.{MARKER} is for functions and for methods of plain classes")
            _check(item)
        except UsageError as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from None
        _hide_hypothesis(item)
    if (source := config.getoption("interleave_replay")) is not None:
        _keep_replayed(config, items, source)


def _hide_hypothesis(item: pytest.Function) -> None:
    """Keep the async function inside of a hypothesis test from other plug-ins, which would run it themselves."""
    handle = getattr(item.obj, "hypothesis", None)
    if handle is not None:
        inner = handle.inner_test
        item.stash[INSIDE] = inner = getattr(inner, INNER, inner)

        def interleaved(*_: Any, **__: Any) -> None:
            raise AssertionError("the call of an item puts its own function here")

        vars(interleaved)[INNER] = inner
        handle.inner_test = interleaved


def _keep_replayed(config: pytest.Config, items: list[pytest.Item], source: str) -> None:
    try:
        name = recorded_test(source)
    except UsageError as error:
        raise pytest.UsageError(f"--interleave-replay: {error}") from None
    marked = [item for item in items if ASKED in item.stash]
    chosen = [item for item in marked if item.nodeid == name] or marked
    if len(chosen) != 1:
        what = "none of the tests that were collected is it" if marked else "no marked test was collected"
        raise pytest.UsageError(f"--interleave-replay: the schedule is one of {name}; {what}; name the test")
    left_out = [item for item in items if item is not chosen[0]]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen


# -- running ----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a marked test under its schedules."""
    if ASKED not in pyfuncitem.stash:
        return None
    __tracebackhide__ = True
    from ksmactors.pytest_plugin.running import TestCampaign, TestFailure

    item = pyfuncitem
    function = original_function(item)
    campaign = TestCampaign(item, item.stash[ASKED])
    try:
        if INSIDE in item.stash:
            campaign.call_with_hypothesis(function, item.stash[INSIDE])
        else:
            campaign.call(function)
    except TestFailure as failed:
        failure = failed
    else:
        return True
    finally:
        item.user_properties += [(SCHEDULES, campaign.schedules), (DISTINCT, campaign.distinct)]
    if campaign.describe(failure):
        item.stash[FAILURE] = failure
        raise failure.error.with_traceback(failure.traceback) from None
    item.user_properties.append((NOTE, campaign.note))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the interleaving to the report of a test that failed."""
    report = yield
    failure = item.stash.get(FAILURE, None)
    if call.when != "call" or failure is None or call.excinfo is None:
        return report
    shown: Any = report.longrepr
    if failure.traceback is None or not hasattr(shown, "addsection"):
        report.longrepr = failure.text
    else:
        shown.addsection(failure.title, failure.text)
    return report


# -- the summary ------------------------------------------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many schedules were run; with -v, of each test."""
    reports = list(_reports(terminalreporter.stats))
    counts = [(name, int(of[SCHEDULES]), int(of[DISTINCT])) for name, of in reports]
    if not counts:
        return
    schedules, distinct = sum(one[1] for one in counts), sum(one[2] for one in counts)
    terminalreporter.section("schedules", sep="-")
    if terminalreporter.config.get_verbosity() > 0:
        for name, ran, different in sorted(counts):
            terminalreporter.write_line(f"{quantity(ran, 'schedule'):>17}, {different:,} distinct: {name}")
    for name, of in reports:
        if NOTE in of:
            terminalreporter.write_line(f"{name} passes: {of[NOTE]}")
    tests = quantity(len(counts), "test")
    terminalreporter.write_line(f"{quantity(schedules, 'schedule'):>17}, {distinct:,} distinct, of {tests}")


def _reports(stats: dict[str, Iterable[object]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each test that was run under schedules, and what its report carries."""
    for reports in stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                properties = dict(report.user_properties)
                if SCHEDULES in properties:
                    yield report.nodeid, properties
