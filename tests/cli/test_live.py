"""Lines that are kept up to date on a terminal, and the progress of a campaign, in a table or in a line a minute."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.text import Text
from typing_extensions import override

import ksmactors
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.cli import live, main
from ksmactors.cli.live import LiveLines, can_paint
from ksmactors.cli.progress import FIXED_LINES, Watched, _plain, found_lines, hours, table_lines
from ksmactors.cli.screen import LINE_SECONDS, console
from ksmactors.run.outcome import Defect, Outcome, Verdict
from ksmactors.run.subject import make_subject
from tests.helpers.ready import ksmactors_line
from tests.helpers.screen import Screen

SECONDS_MAX = 60


class Terminal(StringIO):
    """A stream that says that it is a terminal."""

    @override
    def isatty(self) -> bool:
        return True


class Shown:
    """Lines on a terminal of a width that can change; `screen` has what it shows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, width: int = 80, height: int = 24) -> None:
        self.size = width, height
        self.stream, self.screen = Terminal(), Screen(width)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(live, "_size", lambda _: self.size)
        self.texts = ["one"]
        self.lines = LiveLines(console(self.stream, "never"), lambda *_: [Text(text) for text in self.texts])

    def update(self) -> list[str]:
        """Send what was written since then to the screen; return its rows."""
        self.screen.send(self.stream.getvalue())
        self.stream.seek(0)
        self.stream.truncate()
        return self.screen.rows

    def resize(self, width: int, height: int = 24) -> None:
        """The terminal gets another size."""
        self.update()
        self.size = width, height
        self.screen.width = width


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    """Lines that are painted by the test alone."""
    one = Shown(monkeypatch)
    one.lines.start()
    yield one
    one.lines.stop()


def test_lines_are_replaced(shown: Shown) -> None:
    """The next lines stand where the ones before stood, also if there are more or fewer."""
    for texts in (["a", "b"], ["a"], ["x" * 70, "y", "z"]):
        shown.texts = texts
        shown.lines.paint()
        assert [row for row in shown.update() if row] == texts


def test_what_is_printed_stands_above(shown: Shown) -> None:
    """A long line is printed whole, above; the lines stay below it."""
    shown.lines.paint()
    shown.lines.print("found " + "f" * 150, "replay")
    assert "".join(shown.update()) == "found " + "f" * 150 + "replay" + "one"


@pytest.mark.parametrize("width", [79, 60, 41, 20, 7])
def test_a_terminal_that_becomes_narrower(shown: Shown, width: int) -> None:
    """Rows that the terminal has folded are removed; what stands above stays."""
    shown.lines.print("above")
    shown.texts = ["a" * 79, "b", "c" * 60, "d" * 41]
    shown.lines.paint()
    shown.resize(width)
    shown.lines.paint()
    rows = [row for row in shown.update() if row]
    assert rows[0] == "above"
    assert [row[0] for row in rows[1:]] == ["a", "b", "c", "d"]
    assert all(len(row) < width for row in rows[1:])


def test_a_finding_after_a_resize(shown: Shown) -> None:
    """What is printed right after a resize does not leave old lines above it."""
    shown.texts = ["a" * 79, "b" * 79]
    shown.lines.paint()
    shown.resize(50)
    shown.lines.print("found")
    rows = [row for row in shown.update() if row]
    assert [row[0] for row in rows] == ["f", "a", "b"]


def test_a_terminal_that_becomes_wider_or_lower(shown: Shown) -> None:
    """Nothing is left behind, and no more lines are painted than fit."""
    shown.texts = [str(number) * 70 for number in range(9)]
    shown.lines.paint()
    shown.resize(200)
    shown.lines.paint()
    assert len([row for row in shown.update() if row]) == 9
    shown.size = 200, 5
    shown.lines.paint()
    assert len([row for row in shown.update() if row]) == 4


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end the lines are gone, and no mode of the terminal was touched, not even the cursor."""
    one = Shown(monkeypatch)
    one.lines.start()
    one.lines.print("above")
    one.lines.paint()
    one.lines.stop()
    assert [row for row in one.update() if row] == ["above"]
    assert one.screen.modes == []


def test_a_terminal_that_has_gone_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be painted or printed is not; the command goes on, and has its streams back at the end."""
    one, streams = Shown(monkeypatch), (sys.stdout, sys.stderr)
    one.lines.start()

    def gone(_: str) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(one.stream, "write", gone)
    one.lines.paint()
    one.lines.print("found")
    one.lines.stop()
    assert (sys.stdout, sys.stderr) == streams


def test_where_lines_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not without a terminal, not where its cursor cannot be moved, not where the log goes to one."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert can_paint(console(sys.stderr, "auto"))
    assert can_paint(console(sys.stderr, "never"), log="file")
    assert not can_paint(console(sys.stderr, "auto"), log="-")
    monkeypatch.setenv("TERM", "dumb")
    assert not can_paint(console(sys.stderr, "auto"))
    monkeypatch.setattr(sys, "stderr", StringIO())
    assert not can_paint(console(sys.stderr, "always"))


# -- progress ---------------------------------------------------------------------------------------------------------


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def outcome(workload: str, seed: int, *, found: bool = False) -> Outcome:
    """A schedule that was run."""
    defect = Defect("k", "w", f"w/k@{seed}", "message", 1, (), (), ()) if found else None
    verdict = Verdict.FINDING if found else Verdict.OK
    return Outcome(workload, seed, "random", verdict, 5, 5, (0,) * 1000, bytes(16), bytes([seed] * 8), defect=defect)


def watched(*names: str, asked: int = 100) -> tuple[Campaign, Watched, Clock]:
    """A campaign that is watched, with a clock of its own."""
    clock = Clock()
    campaign = Campaign(Plan([make_subject(name) for name in names], range(asked), "random"))
    one = Watched(campaign, asked, clock=clock)
    campaign.on_taken = one.take
    return campaign, one, clock


def rendered(one: Watched, width: int, height: int) -> list[str]:
    """The table as text."""
    out = console(StringIO(), "never", width=width)
    lines = (
        line
        for renderable in table_lines(one, width, height)
        for line in out.render_lines(renderable, out.options.update(no_wrap=True, overflow="ellipsis"), pad=False)
    )
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def test_a_table() -> None:
    """It has rates over all and by workload, findings, the unseen, and what was never reached."""
    campaign, one, clock = watched("exit_race", "oom_kill", "classic.abba")
    for seed in range(20):
        campaign.take(outcome(("exit_race", "classic.abba")[seed % 2], seed, found=seed == 8))
        clock.now += 0.125
        one.update(campaign.tally)
    text = "\n".join(rendered(one, 80, 24))
    assert "20 of 100 (20%), 8.00 a second, 0:00:02, 0:00:10 left" in text
    assert re.search(r"exit_race +10 +4.00 +1 +100.0%", text)
    assert re.search(r"oom_kill +0 +0.00 +0 +-", text)
    assert "20 distinct; unseen 100.0%" in text
    assert "1 finding\n  1 x w/k@8" in text
    assert re.search(r"never reached: 3 of 3 marks: exit_race: [\w.]+, oom_kill: killed", text)
    assert "never reached: 17 of 17 kinds of race: page_migrated" in text


@pytest.mark.parametrize("width", [80, 60, 30])
@pytest.mark.parametrize("height", [50, 24, 10])
def test_no_line_is_too_long(width: int, height: int) -> None:
    """Whatever the size, each line fits its width, and workloads that do not fit are counted."""
    names = [
        "exit_race",
        "oom_kill",
        "services",
        "swap_pressure",
        "split_vmas",
        "knob_flip",
        "classic.abba",
        "litmus.moved_page_finds_equal",
        "litmus.exiled_node_meets_hotplug",
        "litmus.merge_meets_reclaim_of_freed",
    ]
    campaign, one, clock = watched(*names, asked=1 << 60)
    for seed in range(30):
        campaign.take(outcome(names[seed % len(names)], seed, found=seed > 20))
    clock.now += 1
    one.update(campaign.tally)
    lines = rendered(one, width, height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, FIXED_LINES + 4)
    assert ("more workloads" in "\n".join(lines)) == (height < 24)


def test_rates_are_those_of_now() -> None:
    """A rate is taken over the last seconds, and schedules from a store do not count."""
    campaign, one, clock = watched("exit_race")
    for seed in range(100):
        campaign.take(outcome("exit_race", seed))
        clock.now += 1 if seed < 50 else 2
        one.update(campaign.tally)
    assert one.snapshot.rate == pytest.approx(0.5)


def test_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal a line is printed when a minute has passed, not before."""
    campaign, one, clock = watched("classic.abba")
    campaign.on_schedule = _plain(one)
    for seed in range(40):
        campaign.take(outcome("classic.abba", seed % 4))
        clock.now += LINE_SECONDS / 15
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0] == "ksmactors: 0:01:00: 16 of 100 schedules, 0.25 a second, 0 findings, unseen 0.0%"


def test_a_finding_says_how_it_is_replayed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each finding comes with the command that replays it, with or without a terminal; not with --quiet."""
    line = ["stress", "classic.lost", "--jobs", "1", "--seeds", "30", "--out", str(tmp_path)]
    main(line)
    (file,) = tmp_path.glob("*.json")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2].startswith("model/lost_update@run, seed ")
    assert lines[-1] == f"  replay: ksmactors replay {file}"
    main([*line, "--quiet"])
    assert capsys.readouterr().err == ""


def test_hostile_names_in_a_finding() -> None:
    """Control characters of a signature are shown, one line stays one line."""
    defect = Defect("k", "w", "w/\x1b[2J\n@x", "message", 1, (), (), ())
    found = ksmactors.campaign.summary.Found(Outcome("w", 1, "s", Verdict.FINDING, 1, 1, (), b"", b"", defect=defect))
    assert found_lines(found) == [r"w/\x1b[2J\n@x, seed 1: "]


def test_times_of_any_length() -> None:
    """A campaign without an end to speak of has no number for what is left."""
    assert [hours(seconds) for seconds in (0, 59.9, 3661, 1e18, float("inf"))] == [
        "0:00:00", "0:00:59", "1:01:01", "over a year", "over a year",
    ]  # fmt: skip


@contextmanager
def on_terminal(*args: str, cwd: Path, width: int = 80) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command on a terminal, in a session of its own; and our end of it."""
    (ours, theirs), line = pty.openpty(), ksmactors_line(*args)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    variables |= {
        "TERM": "xterm", "XDG_STATE_HOME": str(cwd), "PYTHONPATH": str(Path(ksmactors.__file__).parents[1]),
    }  # fmt: skip
    with subprocess.Popen(
        line, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=variables, start_new_session=True
    ) as process:  # fmt: skip
        os.close(theirs)
        try:
            yield process, ours
        finally:
            process.kill()
            os.close(ours)


SLEEPING = Path(__file__).parents[1] / "helpers" / "sleeping.py"

LONG = (f"{SLEEPING}:Slow", f"{SLEEPING}:Other", "--seeds", "1000000000")


def read_text(ours: int) -> str:
    """What a terminal has got, to the end of a character."""
    data = os.read(ours, 1 << 16)
    while True:
        try:
            return data.decode()
        except UnicodeDecodeError:
            data += os.read(ours, 1)


def read_until(ours: int, pattern: str, got: str = "") -> str:
    """What a terminal has got once a pattern is in it."""
    end = time.monotonic() + SECONDS_MAX
    while time.monotonic() < end and not re.search(pattern, got):
        if select.select([ours], [], [], 1.0)[0]:
            got += read_text(ours)
    assert re.search(pattern, got), got[-2000:]
    return got


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "number"),
    [(["stress", *LONG, "--color", "always"], signal.SIGINT),
     (["stress", *LONG, "--jobs", "1", "--color", "never"], signal.SIGTERM),
     (["explore", f"{SLEEPING}:Slow"], signal.SIGTERM)],
)  # fmt: skip
def test_an_interruption_leaves_the_terminal_in_order(line: list[str], number: signal.Signals, tmp_path: Path) -> None:
    """After a signal the table is gone, no mode is left switched, and no row was ever too long, resizes included.
    --color holds for the table."""
    with on_terminal(*line, "--out", str(tmp_path / "out"), cwd=tmp_path) as (process, ours):
        got = read_until(ours, "a second")
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        got = read_until(ours, "(?s)a second.*a second", got)
        os.killpg(process.pid, number)
        said = got + _rest(ours)
        assert process.wait(SECONDS_MAX) == 130, said[-2000:]
    assert bool(re.search("\x1b\\[[0-9;]+m", said)) == ("never" not in line)
    screen = Screen(1000)
    screen.send(said.replace("\r\n", "\n"))
    assert all("?" not in mode for mode in screen.modes)
    assert not any("a second  findings" in row for row in screen.rows), screen.rows
    assert "interrupted" in screen.lines[-1] + screen.lines[-2] or "not at its end" in said


def _rest(ours: int) -> str:
    """What a terminal gets until its last program has ended."""
    got, end = "", time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        if select.select([ours], [], [], 1.0)[0]:
            try:
                got += read_text(ours)
            except OSError:
                return got
    raise AssertionError("it does not end")


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_no_table_with(option: str, tmp_path: Path) -> None:
    """With --json and with --quiet nothing moves the cursor, on a terminal either."""
    line = ["stress", "classic.reorder_3", "--seeds", "5", "--max-steps", "100", option]
    with on_terminal(*line, cwd=tmp_path) as (_, ours):
        said = _rest(ours)
    assert not re.search("\x1b\\[[0-9]*[A-HJK]", said), said
