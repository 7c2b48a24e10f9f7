"""The example workloads: each runs and does what it is about; the guest fleet reads images and write rates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import ksmactors
import workloads.examples
from ksmactors.errors import UsageError
from ksmactors.events import catalogue as ev
from ksmactors.plugins import load_workload
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from tests.estimate.cores import Load, core
from workloads.examples.write_rates import GuestRates, read_trace

EXAMPLES = ("twins:Twins", "prefork:Prefork", "guest_fleet:GuestFleet")
FLEET = "workloads.examples.guest_fleet:GuestFleet"
HEADING = "second,guest,pages_per_second\n"
PAGE = 4096


def page_of(byte: int) -> bytes:
    return bytes([byte]) * PAGE


@pytest.fixture
def trace(tmp_path: Path) -> Callable[[str], Path]:
    """Write a trace with these rows."""

    def write(rows: str) -> Path:
        path = tmp_path / "rates.csv"
        path.write_text(HEADING + rows)
        return path

    return write


def one(**params: object) -> Outcome:
    """Run one schedule of the fleet, in the default order."""
    return trio.run(run_schedule, make_subject(FLEET, params={"balance_us": 0, **params}), 1, "default")


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_and_reaches_its_marks(name: str) -> None:
    """Nothing is found, pages merge, and what the example is about happens."""
    campaign = ksmactors.stress(f"workloads.examples.{name}", seeds=3)

    assert campaign.verdict == "sampled"
    assert campaign.merges > 0
    expected = load_workload(f"workloads.examples.{name}").marks_expected()
    assert expected
    assert [mark for mark in expected if not campaign.marks.get((f"workloads.examples.{name}", mark))] == []


def test_each_example_is_named_in_the_folder() -> None:
    """README.md beside them has each, with a command."""
    text = (Path(workloads.examples.__file__).parent / "README.md").read_text()
    for name in EXAMPLES:
        assert text.count(f"workloads.examples.{name}") >= 2


@pytest.mark.parametrize("form", ["raw", "core"])
def test_pages_come_from_the_image(tmp_path: Path, trace: Callable[[str], Path], form: str) -> None:
    """The same pages in a raw image and in a core make the same schedule; pages that are equal in it merge."""
    pages = page_of(9) + page_of(3) + page_of(9) + bytes(PAGE)
    raw, dumped = tmp_path / "guest.img", tmp_path / "guest.core"
    raw.write_bytes(pages)
    dumped.write_bytes(core([Load(0x1000, pages[: 2 * PAGE]), Load(0x9000, pages[2 * PAGE :])]))
    rates = trace("0,a,0\n3,a,0\n")

    outcome = one(image=raw if form == "raw" else dumped, trace=rates, pages=4, second_us=300)

    assert outcome.verdict is Verdict.OK
    assert outcome.counts[ev.STABLE_TREE_APPEND] == 2  # the two pages of nines; there are no others
    assert outcome.digest == one(image=raw, trace=rates, pages=4, second_us=300).digest


def test_every_other_guest_has_the_second_image(tmp_path: Path, trace: Callable[[str], Path]) -> None:
    """Guests of two images share nothing, guests of one do."""
    first, second = tmp_path / "first.img", tmp_path / "second.img"
    first.write_bytes(page_of(1) + page_of(2))
    second.write_bytes(page_of(3) + page_of(4))

    two = one(image=first, second_image=second, trace=trace("0,a,0\n0,b,0\n2,a,0\n"), pages=2)
    three = one(image=first, second_image=second, trace=trace("0,a,0\n0,b,0\n0,c,0\n2,a,0\n"), pages=2)

    assert two.counts[ev.STABLE_TREE_APPEND] == 0
    assert three.counts[ev.STABLE_TREE_APPEND] == 4


def test_guests_write_as_often_as_the_trace_says(trace: Callable[[str], Path]) -> None:
    """Each guest boots with one write a page, then writes at its rate until the trace ends."""
    log = ksmactors.EventList()
    params = {
        "trace": str(trace("1,web,3\n1,db,0\n2,db,5\n3,web,0\n")),
        "pages": "2",
        "balance_us": "0",
        "second_us": "300",
    }
    writes = []

    class Counting(load_workload(FLEET)):  # type: ignore[misc]
        async def _write(self, guest, *rest) -> None:  # type: ignore[no-untyped-def]
            writes.append(guest.name)
            await super()._write(guest, *rest)

    campaign = ksmactors.stress(Counting, seeds=1, strategy="round_robin", params=params, log=log)

    assert campaign.verdict == "sampled"
    assert (writes.count("web"), writes.count("db")) == (3 * 2, 5 * 2)
    rates = [(e["guest"], e["pages_per_second"]) for e in log.events if e["event"] == "guest_fleet.rate"]
    assert sorted(rates) == [("db", 0), ("db", 0), ("db", 5), ("web", 0), ("web", 0), ("web", 3)]


@pytest.mark.parametrize(
    ("rows", "line", "why"),
    [
        ("0,a\n", 2, "2 cells; each row has 3"),
        ("0,a,1,2\n", 2, "4 cells"),
        ("0,a,1\nx,a,1\n", 3, "second must be a whole number from 0 to 1000000, not 'x'"),
        ("0,a,-1\n", 2, "pages_per_second must be a whole number from 0 to 1000000, not '-1'"),
        ("0,a,1.5\n", 2, "not '1.5'"),
        ("0,a,9999999999999999999999\n", 2, "pages_per_second must be"),
        ("0,a,\u0661\n", 2, "pages_per_second must be"),
        ("0,,1\n", 2, "guest ''"),
        ("0,a b,1\n", 2, "guest 'a b'"),
        ("# so far so good\n\n5,a,1\n4,a,1\n", 5, "second 4 comes after second 5; sort the rows by time"),
        ("5,a,1\n5,b,1\n5,a,2\n", 4, "a second row for guest a at second 5"),
        ('0,"a,1\n', 2, "not CSV"),
        ("".join(f"0,g{n},1\n" for n in range(65)), 66, "guest g64 is one too many; at most 64"),
    ],
)
def test_a_bad_row_is_named_by_its_line(trace: Callable[[str], Path], rows: str, line: int, why: str) -> None:
    """One line says which row will not do, and why."""
    with pytest.raises(UsageError) as caught:
        read_trace(trace(rows))

    assert f"rates.csv, line {line}: " in str(caught.value)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "there is no row below the heading"),
        (HEADING.encode(), "there is no row below the heading"),
        (b"time,guest,rate\n0,a,1\n", "line 1: the heading must be second,guest,pages_per_second"),
        (HEADING.encode() + b"0,\xff,1\n", "is not UTF-8 text"),
        (HEADING.encode() + b"0,a,1000000\n", "1,000,000 writes; at most 100,000 are allowed"),
    ],
)
def test_a_bad_trace(tmp_path: Path, text: bytes, why: str) -> None:
    """A file that is no trace is refused in one line."""
    path = tmp_path / "rates.csv"
    path.write_bytes(text)

    with pytest.raises(UsageError, match=why):
        read_trace(path)


def test_a_trace_of_another_system() -> None:
    """A byte order mark, carriage returns, spaces, quotes and comments change nothing."""
    path = Path(workloads.examples.__file__).parent.parent / "data" / "guest_rates.csv"
    assert list(read_trace(path).guests) == ["web", "db", "idle"]


def test_carriage_returns_and_quotes(tmp_path: Path) -> None:
    """A trace that a spreadsheet wrote is read as any other."""
    path = tmp_path / "rates.csv"
    path.write_bytes(b'\xef\xbb\xbfsecond,guest,pages_per_second\r\n0, "a" ,1\r\n2,"a",3\r\n'.replace(b' "a" ', b'"a"'))

    found = read_trace(path)

    assert found.guests == {"a": GuestRates([(0, 1), (2, 3)])}
    assert list(found.guests["a"].stretches(found.end)) == [(2, 1), (1, 3)]


def test_too_small_an_image(tmp_path: Path) -> None:
    """An image with fewer pages than are wanted is refused with both numbers."""
    path = tmp_path / "small.img"
    path.write_bytes(page_of(1))

    with pytest.raises(UsageError, match=r"small\.img has only 1 page, not 6"):
        one(image=path)
