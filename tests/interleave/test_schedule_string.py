"""Schedule strings: what goes in comes out, and damage is told."""

from __future__ import annotations

import json
import zlib
from base64 import urlsafe_b64encode
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmactors.errors import ScheduleFormatError
from ksmactors.interleave.schedule_string import (
    PREFIX,
    Departure,
    Schedule,
    decode,
    encode,
    looks_like_schedule,
    numbers,
    runs,
)

JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.text(max_size=4), max_size=2)


@st.composite
def turn(draw: st.DrawFn) -> tuple[int, int]:
    """A choice among two to five of a hundred actors."""
    ready = sorted(draw(st.sets(st.integers(0, 99), min_size=2, max_size=5)))
    return sum(1 << number for number in ready), ready[draw(st.integers(0, 4)) % len(ready)]


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Any schedule that can be recorded, long stretches included."""
    stretches = draw(st.lists(st.tuples(turn(), st.integers(1, 300)), max_size=5))
    labels = st.tuples(st.text(max_size=8), st.integers(1, 1 << 40), st.integers(0, 1 << 40))
    draws = [(label, n, value % n) for label, n, value in draw(st.lists(labels, max_size=5))]
    header = draw(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
    texts = st.text(max_size=8)
    departure = st.builds(Departure, texts, texts, texts, st.integers(0, 1 << 40), st.booleans())
    departures = draw(st.lists(departure, max_size=4))
    return Schedule(header, [choice for choice, points in stretches for _ in range(points)], draws, departures)


SAMPLE = Schedule(
    {"workload": "knob_flip", "params": {"pages": "8"}, "kernel": "series", "nodes": 2, "seed": 17},
    [(0b111, 0)] * 40 + [(0b111, 2), (0b110, 1)] * 5,
    [("act", 7, 3), ("fault", 2, 0), ("act", 7, 6)],
)


def string_of(stream: bytes) -> str:
    """A schedule string with a right checksum, whatever the stream."""
    packed = zlib.compress(stream)
    return PREFIX + urlsafe_b64encode(zlib.crc32(packed).to_bytes(4, "big") + packed).rstrip(b"=").decode()


class TestRoundTrip:
    @settings(max_examples=40, deadline=None)
    @given(schedules())
    def test_what_goes_in_comes_out(self, schedule: Schedule) -> None:
        """Decoding gives the schedule that was encoded, and encoding it again the same string."""
        text = encode(schedule)

        assert decode(text) == schedule
        assert encode(decode(text)) == text

    def test_it_can_be_pasted(self) -> None:
        """The string is one word of letters, digits, - and _; line breaks and spaces that a mail adds do no harm."""
        text = encode(SAMPLE)
        wrapped = "  " + "\n ".join(text[i : i + 60] for i in range(0, len(text), 60)) + "\n"

        assert text.removeprefix(PREFIX).replace("-", "").replace("_", "").isalnum()
        assert text.isascii()
        assert decode(wrapped) == SAMPLE

    def test_it_is_short(self) -> None:
        """A hundred thousand choices in stretches cost little more than the stretches."""
        long = Schedule({}, [choice for k in range(1_000) for choice in [(0b1111, k % 4)] * 100], [])

        assert len(encode(long)) < 200

    def test_runs(self) -> None:
        """Stretches of equal choices are counted; a mask is read as actor numbers."""
        assert list(runs([(3, 0), (3, 0), (3, 1), (7, 1)])) == [(3, 0, 2), (3, 1, 1), (7, 1, 1)]
        assert list(runs([])) == []
        assert numbers(0b1010) == [1, 3]

    def test_what_looks_like_one(self) -> None:
        """The start tells a schedule string, of any version, from a file name."""
        assert looks_like_schedule(" " + encode(SAMPLE))
        assert looks_like_schedule("ksm99:abc")
        assert not looks_like_schedule("ksm.json")


class TestDamage:
    def test_every_corrupted_character(self) -> None:
        """Any one character replaced by any other kind is refused, or decodes to the same schedule."""
        text = encode(SAMPLE)
        for place in range(len(text)):
            for other in "A0_-z:+ é\n":
                damaged = text[:place] + other + text[place + 1 :]
                with suppress(ScheduleFormatError):
                    assert decode(damaged) == SAMPLE

    def test_every_truncation(self) -> None:
        """A string that was not copied whole is refused."""
        text = encode(SAMPLE)
        for length in range(len(text)):
            with pytest.raises(ScheduleFormatError):
                decode(text[:length])

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "a schedule string starts with ksm2:, this starts with ''"),
            ("hello world", "this starts with 'helloworld'"),
            ("KSM2:abcd", "starts with ksm2:"),
            ("ksm1:abcd", "has version 1, this program reads version 2"),
            ("ksm2:", "checksum is wrong; was it copied whole"),
            ("ksm2:abcde", "its length is wrong; was it copied whole"),
            ("ksm2:ab!d", "damaged: '!' at character 8"),
            (encode(SAMPLE)[:-4], "checksum is wrong"),
            (encode(SAMPLE) + "AAAA", "checksum is wrong"),
        ],
    )
    def test_the_kind_of_damage_is_told(self, text: str, message: str) -> None:
        """Wrong prefix, other version, truncation, foreign characters and a bad checksum each have their line."""
        with pytest.raises(ScheduleFormatError, match=message):
            decode(text)

    @pytest.mark.parametrize(
        ("stream", "message"),
        [
            (b"", "makes no sense"),
            (b"\x02[]\x00\x00\x00", "its header is no object"),
            (b"\x02{]\x00\x00\x00", "makes no sense"),
            (b"\x09{}", "its end is missing"),
            (b"\x02{}\x00\x01\x00\x02\x01\x00", "makes no sense"),
            (b"\x02{}\x01\x01x\x01\x00\x02\x02\x00", "draws 2 from 0..1 for 'x'"),
            (b"\x02{}\x00\x00\x01\x03\x02\x01", "makes no sense"),
            (b"\x02{}\x00\x00\x01\x03\x00\xff\xff\xff\xff\x7f", "more than 67108864 choices"),
            (b"\x02{}\x00\x00\x00\x00\x00", "something follows its end"),
            (b"\x01\xff\x00\x00\x00", "makes no sense"),
        ],
    )
    def test_a_forged_stream(self, stream: bytes, message: str) -> None:
        """A string with a right checksum and nonsense behind it is refused, and fills no memory."""
        with pytest.raises(ScheduleFormatError, match=message):
            decode(string_of(stream))

    def test_a_stream_that_is_none(self) -> None:
        """A right checksum over something that zlib did not write is refused."""
        for packed in (b"abc", zlib.compress(json.dumps({}).encode())[:-2]):
            text = PREFIX + urlsafe_b64encode(zlib.crc32(packed).to_bytes(4, "big") + packed).rstrip(b"=").decode()
            with pytest.raises(ScheduleFormatError, match="makes no sense"):
                decode(text)
