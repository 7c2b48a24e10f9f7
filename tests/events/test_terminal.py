from __future__ import annotations

import io
import re
from typing import Any

import pytest

from ksmactors.events import catalogue as ev
from ksmactors.events.colors import color_allowed
from ksmactors.events.logs import LogWriter
from ksmactors.events.terminal import PersonForm, milliseconds, terminal_log, value_text


class _Actor:
    def __init__(self, name: str) -> None:
        self.name, self.cpu, self.node = name, 0, 0


def lines(records: list[tuple[Any, ...]], *names: str, color: bool = False) -> list[str]:
    """The lines in which records of actors with these names are shown."""
    stream = io.BytesIO()
    writer = LogWriter(stream, "test", PersonForm(color=color))
    writer.sink([_Actor(name) for name in names], run="r", seed=1, schedule=0)(records)
    return stream.getvalue().decode().splitlines()


def test_a_line_reads_from_left_to_right() -> None:
    """Step, virtual time, actor, event, fields: one line, without run and seed."""
    (line,) = lines([(ev.DO_ANONYMOUS_PAGE, 12, 1_234_567, 0, "vm0", 0x10000, 42, 1)], "thread/0")
    assert line.split() == [
        "12", "1.234", "ms", "thread/0", "do_anonymous_page", "mm=vm0", "address=0x10000", "pfn=42", "nid=1",
    ]  # fmt: skip


def test_what_nobody_knows_is_left_out() -> None:
    """A field without a value does not make a line longer; zero and an empty string are values."""
    records = [(ev.RACE_CHECKSUM_CHANGED, 1, 0, 0, "A.0", "", None, -1, 0, 0), (ev.LOCK_WAIT, 1, 0, 0, "m", None)]
    race, wait = lines(records, "ksmd")
    assert race.split()[5:] == ["winner=A.0", "loser=''", "page_nid=0", "kpfn=0"]
    assert wait.split()[5:] == ["lock=m"]


def test_columns_are_aligned() -> None:
    """Events of actors with short and long names start in one column once the longest is known."""
    records = [(ev.KSM_ENTER, step, step * 1000, number, "vm") for step, number in [(1, 1), (20000, 0), (3, 1)]]
    shown = lines(records, "ksmd", "a_very_long_actor/12")
    assert {line.index("ksm_enter") for line in shown} == {shown[0].index("ksm_enter")}


def test_without_colour_there_are_no_escapes() -> None:
    """A line without colour is plain text."""
    records = [(ev.FINDING, 1, 1000, 0, "shadow", "lost", "sig", "a message"), (ev.KSM_WARN, 1, 1, 0, "f", "m")]
    assert not any("\x1b" in line for line in lines(records, "ksmd"))


def test_an_actor_keeps_its_colour_and_another_has_another() -> None:
    """Colours tell actors apart; without them the line is the same as without colour."""
    records = [(ev.KSM_ENTER, step, 0, step % 2, "vm") for step in range(4)]
    shown = lines(records, "ksmd", "main", color=True)
    painted = [re.search(r"\x1b\[(\d+)m(ksmd|main)", line) for line in shown]
    assert all(painted)
    colours = [match[1] for match in painted if match]
    assert colours[0] == colours[2] != colours[1] == colours[3]
    assert [re.sub(r"\x1b\[[\d;]*m", "", line) for line in shown] == lines(records, "ksmd", "main")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("pfn", 1048577, "1048577"),
        ("kpfn", -1, "-"),
        ("page_nid", -1, "-"),
        ("err", -16, "-EBUSY"),
        ("err", 0, "0"),
        ("address", 0x7F0000, "0x7f0000"),
        ("changed", True, "yes"),
        ("changed", False, "no"),
        ("tree", None, "-"),
        ("mm", "vm0", "vm0"),
        ("message", "two words", "'two words'"),
        ("value", "", "''"),
        ("value", "-", "'-'"),
        ("value", "1\n", "'1\\n'"),
        ("mark", "\x1b[2J", "'\\x1b[2J'"),
    ],
)
def test_values_are_shown_as_people_read_them(name: str, value: object, shown: str) -> None:
    """Addresses in hex, errnos by name, a dash for what there is not, and no control characters."""
    assert value_text(name, value) == shown


def test_virtual_time_is_cut_off_not_rounded() -> None:
    """Times are milliseconds with three digits."""
    assert [milliseconds(ns) for ns in (0, 999, 1000, 20_000_999, 10**10)] == [
        "0.000 ms", "0.000 ms", "0.001 ms", "20.000 ms", "10000.000 ms",
    ]  # fmt: skip


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "terminal", "color", "allowed"),
    [
        ({}, True, "auto", True),
        ({}, False, "auto", False),
        ({"NO_COLOR": "1"}, True, "auto", False),
        ({"NO_COLOR": ""}, True, "auto", True),
        ({"TERM": "dumb"}, True, "auto", False),
        ({"FORCE_COLOR": "1"}, False, "auto", True),
        ({"NO_COLOR": "1"}, True, "always", True),
        ({"FORCE_COLOR": "1"}, True, "never", False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    environment: dict[str, str], terminal: bool, color: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--color wins over NO_COLOR, NO_COLOR over FORCE_COLOR, and both over what the stream is."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert color_allowed(_Terminal() if terminal else io.StringIO(), color) is allowed


def test_the_terminal_shows_no_debug_events_unless_asked(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A person's log starts at info: who found which lock taken is for `--log` and `analyze`."""
    records = [(ev.LOCK_WAIT, 1, 1000, 0, "mmap_sem of vm", "ksmd"), (ev.KSM_ENTER, 1, 1000, 0, "vm")]
    for level in ("info", "debug"):
        with terminal_log(color="never", level=level) as log:
            log.sink([_Actor("main")], run="r", seed=1, schedule=0)(records)
    assert re.findall(rb"lock\.wait|ksm_enter", capfdbinary.readouterr().out) == [
        b"ksm_enter", b"lock.wait", b"ksm_enter",
    ]  # fmt: skip
