"""What `@pytest.mark.interleave` and the options of pytest ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final

import pytest

from ksmactors.errors import UsageError, unknown
from ksmactors.escaping import quoted
from ksmactors.run.options import GivenOptions

if TYPE_CHECKING:
    from ksmactors.run.subject import Subject

MARKER: Final = "interleave"
DEFAULT_SEEDS: Final = 100
DEFAULT_SHRINK: Final = 300
"""As many as `replay --explain` tries."""

INNER: Final = "_interleaved"
"""The attribute of what stands inside of a hypothesis test: the async function that its author wrote there."""

MACHINE_FIXTURES: Final = ("host", "machine")

_TEXTS: Final = ("kernel", "inject", "strategy")
_NUMBERS: Final = ("nodes", "max_steps")
_LISTS: Final = ("without", "with_", "watch")
_OPTIONS: Final = ("seeds", "strategy", *GivenOptions.__annotations__)
_OF_MACHINES: Final = ("kernel", "nodes", "without", "with_", "watch", "inject", "params")


@dataclass(frozen=True, slots=True)
class InterleaveOptions:
    """What the markers of a test ask for, checked.

    `subject` is what is run, but for the test's function.
    """

    seeds: range
    strategy: str
    subject: Subject


def asked_of(item: pytest.Function) -> InterleaveOptions:
    """Return what the markers of an item ask for. Of several markers, the one closest to the test decides each option.

    Raises:
        UsageError: an option does not exist, or has a wrong value; or the test is none that can run under a schedule.
    """
    from ksmactors.pytest_plugin.subjects import subject_of
    from ksmactors.run.extensions import check_strategy

    given: dict[str, Any] = {}
    for mark in item.iter_markers(MARKER):
        _check_mark(mark)
        given = {**mark.kwargs, **given}
    function = original_function(item)
    inner = getattr(function, "hypothesis", None)
    if not iscoroutinefunction(function if inner is None else getattr(inner.inner_test, INNER, inner.inner_test)):
        raise UsageError(f"@pytest.mark.{MARKER} is for `async def` tests")
    _check_fixtures(item)
    has_machine = any(name in item.fixturenames for name in MACHINE_FIXTURES)
    seeds, strategy = _seeds(given.pop("seeds", DEFAULT_SEEDS)), given.pop("strategy", "portfolio")
    strange = [name for name in given if name in _OF_MACHINES]
    if strange and not has_machine:
        raise UsageError(
            f"@pytest.mark.{MARKER}: {' and '.join(strange)} is about the emulated machine, and the test takes neither "
            "of the fixtures host and machine"
        )
    try:
        check_strategy(strategy)
        return InterleaveOptions(seeds, strategy, subject_of(item.nodeid, has_machine=has_machine, given=given))
    except UsageError as error:
        raise UsageError(f"@pytest.mark.{MARKER}: {error}") from None


def _check_mark(mark: pytest.Mark) -> None:
    if mark.args:
        raise UsageError(f"@pytest.mark.{MARKER} takes keywords only, as seeds=200, not {quoted(mark.args[0])}")
    for name, value in mark.kwargs.items():
        if name not in _OPTIONS:
            raise UsageError(unknown(f"option of @pytest.mark.{MARKER}", name, _OPTIONS))
        wrong = (
            (name in _TEXTS and not isinstance(value, str))
            or (name in _NUMBERS and type(value) is not int)
            or (name in _LISTS and not _is_texts(value))
            or (name == "params" and not isinstance(value, Mapping))
        )
        if wrong:
            kind = "a text" if name in _TEXTS else "a whole number" if name in _NUMBERS else "a text or a list of texts"
            kind = "a mapping" if name == "params" else kind
            raise UsageError(f"@pytest.mark.{MARKER}: {name} must be {kind}, not {quoted(value)}")


def _is_texts(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value))


def _seeds(value: object) -> range:
    if isinstance(value, range) and value.step == 1:
        value = f"{value.start}:{value.stop}"
    if type(value) is not int and not isinstance(value, str):
        raise UsageError(f"@pytest.mark.{MARKER}: seeds must be a number or 'A:B', not {quoted(value)}")
    return _parsed(str(value), "seeds")


def _parsed(text: str, what: str) -> range:
    from ksmactors.campaign.stress import parse_seeds

    try:
        return parse_seeds(text)
    except UsageError as error:
        raise UsageError(str(error).replace("--seeds", what)) from None


def seeds_option(text: str) -> range:
    """Return the seeds that `--interleave-seeds` names."""
    from argparse import ArgumentTypeError

    try:
        return _parsed(text, "it")
    except UsageError as error:
        raise ArgumentTypeError(str(error)) from None


def original_function(item: pytest.Function) -> Any:
    """Return the function of an item, bound, as its author wrote it: other plug-ins replace `item.obj`."""
    owner = item.instance if item.instance is not None else item.parent.obj  # type: ignore[union-attr]  # it has one
    return getattr(owner, item.originalname)


def _check_fixtures(item: pytest.Function) -> None:
    """Refuse async fixtures, which run in a loop of their own, that no schedule reaches."""
    for name, definitions in item._fixtureinfo.name2fixturedefs.items():
        function = definitions[-1].func
        if iscoroutinefunction(function) or isasyncgenfunction(function):
            raise UsageError(
                f"@pytest.mark.{MARKER}: the fixture {name} is async, and would run outside of the schedules: make it "
                "a function that the test awaits"
            )


def recorded_test(source: str) -> str:
    """Return the name of the test that a finding file, or a schedule string, is about.

    Raises:
        UsageError: it cannot be read, or is about no test.
    """
    from ksmactors.campaign.findings import read
    from ksmactors.interleave.schedule_string import header_of
    from ksmactors.run.header import checked_header
    from ksmactors.run.tests import is_test

    name = checked_header(header_of(read(source)["schedule"])).workload
    if not is_test(name):
        raise UsageError(f"{source[:80]} is about the workload {name}, not about a test: use `ksmactors replay`")
    return name
