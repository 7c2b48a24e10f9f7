"""Schedule strings that somebody made up: refused before anything large is built, however short they are."""

from __future__ import annotations

import json
import tracemalloc
import zlib

import pytest

from ksmactors.errors import ScheduleFormatError
from ksmactors.interleave.schedule_string import (
    ACTORS_MAX,
    EXPANSION_MAX,
    MASK_BYTES_MAX,
    RUNS_MAX,
    TURNS_MAX,
    TURNS_PER_STEP,
    Departure,
    Schedule,
    decode,
    encode,
    header_of,
)
from tests.interleave.test_schedule_string import SAMPLE, string_of

MEMORY_MAX = 64 << 20
"""Bytes that may be used to find out that a string makes no sense."""


def number(value: int) -> bytes:
    """A varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str) -> bytes:
    """A text with its length."""
    return number(len(value.encode())) + value.encode()


def stream(
    *, header: str = "{}", texts: bytes = b"\0", draws: bytes = b"\0", turns: bytes = b"\0", last: bytes = b"\0"
) -> bytes:
    """A stream of these parts; each begins with how many there are."""
    return text(header) + texts + draws + turns + last


def runs(*each: tuple[int, int, int]) -> bytes:
    """Runs as (change of the mask, index, points)."""
    return number(len(each)) + b"".join(number(part) for run in each for part in run)


HOSTILE = [
    (stream(turns=runs((3, 0, 1 << 26), (0, 0, 1))), f"more than {TURNS_MAX} choices"),
    (
        stream(header='{"max_steps":100}', turns=runs((3, 0, 5000))),
        f"more than {TURNS_PER_STEP * 100 + ACTORS_MAX} choices",
    ),
    (stream(turns=runs((3, 0, 1 << 69))), "more than"),
    (stream(turns=runs((1 << (1 << 18), 0, 1))), "a number is too large"),
    (stream(turns=runs((1 << ACTORS_MAX, 0, 1))), "a run of choices that no schedule has"),
    (stream(turns=runs((3, 2, 1))), "a run of choices that no schedule has"),
    (stream(turns=runs((3, 0, 0))), "a run of choices that no schedule has"),
    (stream(turns=number(1 << 60)), "its end is missing"),
    (stream(turns=number(RUNS_MAX + 1) + bytes(3 * RUNS_MAX + 3)), "unpack to more than"),
    (stream(texts=number(1 << 40)), "its end is missing"),
    (stream(texts=number(1) + number(1 << 40)), "its end is missing"),
    (stream(draws=number(1 << 40)), "its end is missing"),
    (stream(texts=number(1) + text("x"), draws=number(1) + b"\0" + number(1 << 80) + b"\0"), "a number is too large"),
    (stream(texts=number(1) + text("x"), draws=number(1) + b"\1\2\0"), "list index out of range"),
    (stream(last=number(1 << 40)), "its end is missing"),
    (stream(header="[" * 100_000), "makes no sense"),
    (stream(header='{"x":' * 100_000), "makes no sense"),
    (stream(header='{"seed":' + "9" * 5000 + "}"), "makes no sense"),
    (stream(header="[]"), "its header is no object"),
    (b"\xff" * 5000, "a number is too large"),
    (stream() + b"\0", "something follows its end"),
    (bytes(1 << 24), "unpack to more than"),
]


@pytest.mark.parametrize(("made_up", "said"), HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_refused(made_up: bytes, said: str) -> None:
    """Too many choices, actors, runs, bytes; counts that nothing follows; numbers and nesting without end."""
    string = string_of(made_up)
    tracemalloc.start()
    try:
        with pytest.raises(ScheduleFormatError, match=said):
            decode(string)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX
    finally:
        tracemalloc.stop()


def test_masks_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of three bytes may have a large mask; not as many as would take MASK_BYTES_MAX."""
    bytes_max = MASK_BYTES_MAX // 16
    monkeypatch.setattr("ksmactors.interleave.schedule_string.MASK_BYTES_MAX", bytes_max)
    large_masks = [(1 << ACTORS_MAX - 1, 0, 1), *((1 << bit % 7, 0, 1) for bit in range(bytes_max // 512))]
    with pytest.raises(ScheduleFormatError, match="a run of choices that no schedule has"):
        decode(encode_loosely(stream(turns=runs(*large_masks))))
    assert decode(encode_loosely(stream(turns=runs(*large_masks[:1000])))).choices == 1000


def encode_loosely(made_up: bytes) -> str:
    """A string whose stream is not packed at all."""
    from base64 import urlsafe_b64encode

    packed = zlib.compress(made_up, 0)
    return "ksm2:" + urlsafe_b64encode(zlib.crc32(packed).to_bytes(4, "big") + packed).rstrip(b"=").decode()


def test_a_short_string_of_many_choices_takes_no_memory() -> None:
    """A run is one tuple however long it is; only whoever asks for single turns has them made."""
    string = string_of(stream(turns=runs((3, 0, 1 << 25))))
    tracemalloc.start()
    try:
        schedule = decode(string)
        assert schedule.choices == 1 << 25
        assert schedule.runs == [(3, 0, 1 << 25)]
        assert encode(schedule) == encode(decode(string))
        assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX
    finally:
        tracemalloc.stop()


def test_the_largest_that_is_believed() -> None:
    """As many actors as there may be, the highest of them chosen; and as many choices as the steps allow."""
    schedule = Schedule({"max_steps": 1}, [((1 << ACTORS_MAX) - 1, ACTORS_MAX - 1)] * (ACTORS_MAX + TURNS_PER_STEP))
    assert decode(encode(schedule)) == schedule


def test_a_livelock_can_be_read_again() -> None:
    """Two actors that move in turn, for long: what zlib packs a thousandfold is written so that it is believed."""
    schedule = Schedule({}, [(0b11, 0), (0b11, 1)] * 30_000)
    string = encode(schedule)
    assert len(string) * 3 // 4 * EXPANSION_MAX > 2 * 30_000 * 3 - (1 << 16)
    assert decode(string) == schedule
    assert len(string) < 20_000


def test_the_header_alone() -> None:
    """The header is read without the rest, and refused as with it."""
    assert header_of(encode(SAMPLE)) == SAMPLE.header
    with pytest.raises(ScheduleFormatError, match="no object"):
        header_of(string_of(stream(header="3")))
    with pytest.raises(ScheduleFormatError, match="version 1,"):
        header_of("ksm1:abc")


def test_turns_may_be_changed() -> None:
    """Turns and runs are one thing: whoever changes the turns of a decoded schedule changes what is encoded."""
    schedule = decode(encode(SAMPLE))
    schedule.turns.append((0b111, 1))
    assert schedule.choices == len(SAMPLE.turns) + 1
    assert schedule.runs[-1] == (0b111, 1, 1)
    assert decode(encode(schedule)) == schedule != SAMPLE
    assert repr(schedule).endswith("51 choices, 3 draws)")
    assert schedule != json


def test_departures_are_bounded_too() -> None:
    """Names of a departure must be among the texts."""
    one = Schedule({}, [], [], [Departure("a", "b", "c", 1, True)])
    assert decode(encode(one)) == one
    with pytest.raises(ScheduleFormatError, match="list index out of range"):
        decode(string_of(stream(last=b"\1\0\0\0\0\0")))
