"""Mistakes in plug-ins: named as the author's, with file, line and function, and never as a defect of ksmactors."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksmactors.cli import main

VARIANTS = """
from ksmactors.variant import Ksm

class Few(Ksm):
    async def has_other_references(self, page):
        return False

class Value(Ksm):
    wake_ksmd = 3

class Computed(Ksm):
    @property
    def wake_ksmd(self):
        return lambda: None

class Keyword(Ksm):
    async def has_other_references(self, page, swapped, *, more):
        return False

class Helped(Ksm):
    def wake_ksmd(self):
        helper()

class Same(Ksm):
    async def has_other_references(self, frame, *rest, more=0):
        return await super().has_other_references(frame, *rest)

def helper():
    raise LookupError("gone")
"""

WATCHERS = """
from ksmactors.watcher import Watcher, events

class Base(Watcher):
    summary = "listens wrongly"
    event = events.MADVISE

    def __init__(self, machine):
        super().__init__(machine)
        machine.trace.listen(self.event, self.listener())

    def listener(self):
        return self._few

    def _few(self, mm):
        pass

class Few(Base):
    name = "few"

class Lambda(Base):
    name = "lambda"
    def listener(self):
        return lambda mm: None

class Helper(Base):
    name = "helper"
    def listener(self):
        return helper

class Raises(Base):
    name = "raises"
    def listener(self):
        return raises

class Entry(Base):
    name = "entry"
    def __init__(self, machine):
        Watcher.__init__(self, machine)
        machine.kernel.pte_listeners.append(self._few)

class Unknown(Base):
    name = "unknown"
    event = "madvise"

class NoFunction(Base):
    name = "no_function"
    def listener(self):
        return 3

class Moment(Base):
    name = "moment"
    def at_rest(self, more):
        pass

class Later(Base):
    name = "later"
    async def at_rest(self):
        pass

class Built(Base):
    name = "built"
    def __init__(self, machine, more):
        pass

def helper(one):
    pass

def raises(*fields):
    raise LookupError("gone")
"""

STRATEGIES = """
from ksmactors.strategy import Strategy

class Base(Strategy):
    name = "base"
    summary = "chooses wrongly"
    def choose(self, ready, current):
        return self.chosen(ready)

class Nobody(Base):
    def chosen(self, ready):
        return None

class Number(Base):
    def chosen(self, ready):
        return 0

class Unready(Base):
    def chosen(self, ready):
        return self.stage.actors[0]

class Raises(Base):
    def chosen(self, ready):
        return ready[99]

class Horizon(Base):
    def chosen(self, ready):
        return ready[0]
    def horizon(self, ready, current):
        return None

class Begin(Base):
    def begin(self, rng):
        raise LookupError("gone")

class Concluded(Horizon):
    def horizon(self, ready, current):
        return 1
    def concluded(self):
        raise LookupError("gone")

class Made(Base):
    def __init__(self, **values):
        raise LookupError("gone")

class Alone(Strategy):
    name = "alone"
    summary = "takes no current"
    def choose(self, ready):
        return ready[0]
"""


def told(tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, cls: str, *words: str) -> tuple[int, str]:
    """Run two schedules with a class of a file; returns the exit status, and standard error."""
    file = tmp_path / "mine.py"
    file.write_text(source)
    given = [word.format(f"{file}:{cls}") for word in words]
    status = main(["stress", "fork_storm", "--seeds", "2", "--jobs", "1", "--quiet", "--out", str(tmp_path), *given])
    error = capsys.readouterr().err
    assert "defect of ksmactors" not in error
    return status, error


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (
            "Few",
            "(too many positional arguments): async def has_other_references(self, page: Frame, swapped: bool) -> bool",
        ),
        ("Value", "Value.wake_ksmd is 3, and must be a function: def wake_ksmd(self) -> None"),
        ("Computed", "Computed.wake_ksmd is a property, and must be a function"),
        ("Keyword", "Keyword.has_other_references cannot be called as the overridden one is (missing a required "),
    ],
)
def test_an_override_of_another_shape_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cls: str, message: str
) -> None:
    """A variant is loaded if each override can be called as the kernel's function is: the message shows that one."""
    status, error = told(tmp_path, capsys, VARIANTS, cls, "--with", "{}")
    assert status == 2
    assert message in error


def test_an_override_may_take_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other names and further optional parameters do no harm."""
    assert told(tmp_path, capsys, VARIANTS, "Same", "--with", "{}") == (0, "")


def test_a_helper_of_a_variant_is_the_variants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a function beside the class raises is reported as the variant's, without the frames of the emulator."""
    status, error = told(tmp_path, capsys, VARIANTS, "Helped", "--with", "{}")
    assert status == 3
    assert "a variant raised LookupError: gone (mine.py:" in error
    assert "in helper)" in error
    assert error.count("  File ") == 2


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        ("Few", "TypeError: Base._few() takes 2 positional arguments but"),
        ("Lambda", "<lambda>() takes 1 positional argument but"),
        ("Helper", "TypeError: helper() takes 1 positional argument but"),
        ("Entry", "TypeError: Base._few() takes 2 positional arguments but"),
        ("Raises", "LookupError: gone (mine.py:"),
        (
            "Unknown",
            "no event 'madvise'; the events are constants of `ksmactors.watcher.events` (did you mean events.MADVISE?)",
        ),
        ("NoFunction", "ValueError: listen(madvise): 3 is not a function"),
    ],
)
def test_a_listener_is_the_watchers(tmp_path: Path, capsys: pytest.CaptureFixture[str], cls: str, message: str) -> None:
    """A listener that takes other fields, raises, or listens to nothing is named with its watcher and its line."""
    status, error = told(tmp_path, capsys, WATCHERS, cls, "--watch", "all,{}")
    assert status == 3
    assert "the watcher " in error
    assert message in error
    assert "(mine.py:" in error
    assert error.count("  File ") <= 2


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        ("Moment", "Moment.at_rest cannot be called as the overridden one is (missing a required argument: 'more')"),
        ("Later", "Later.at_rest must not be async: def at_rest(self) -> None"),
        ("Built", "Built.__init__ cannot be called as the overridden one is"),
    ],
)
def test_a_watcher_of_another_shape_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cls: str, message: str
) -> None:
    """A watcher is loaded if its methods can be called as those of the base class."""
    status, error = told(tmp_path, capsys, WATCHERS, cls, "--watch", "all,{}")
    assert status == 2
    assert message in error


@pytest.mark.parametrize(
    ("cls", "message", "function"),
    [
        ("Nobody", "strategy base: choose returned None, and not one of the ready actors (host, ", "choose"),
        ("Number", "strategy base: choose returned 0, and not one of the ready actors (host, ", "choose"),
        ("Unready", "strategy base: choose returned host, and not one of the ready actors (", "choose"),
        ("Raises", "strategy base raised IndexError: list index out of range (mine.py:", "chosen"),
        ("Horizon", "strategy base: horizon returned None, and not a number of points (mine.py:", "horizon"),
        ("Begin", "strategy base raised LookupError: gone (mine.py:", "begin"),
        ("Concluded", "strategy base raised LookupError: gone (mine.py:", "concluded"),
        ("Made", "strategy base raised LookupError: gone (mine.py:", "__init__"),
    ],
)
@pytest.mark.parametrize("around", ["", "metrics:of="])
def test_a_strategy_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cls: str, message: str, function: str, around: str
) -> None:
    """A strategy that raises, or answers what is no answer, is named with its function, also inside another one."""
    short = ("--max-steps", "1000")  # these strategies are not fair, and with some of them no schedule ends
    status, error = told(tmp_path, capsys, STRATEGIES, cls, *short, "--strategy", f"{around}{{}}")
    assert status == 3
    assert message in error
    assert f"in {function})" in error
    assert error.count("  File ") <= 2


def test_a_strategy_of_another_shape_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A strategy is loaded if its methods can be called as those of the base class."""
    status, error = told(tmp_path, capsys, STRATEGIES, "Alone", "--strategy", "{}")
    assert status == 2
    assert "Alone.choose cannot be called as the overridden one is (too many positional arguments): " in error
