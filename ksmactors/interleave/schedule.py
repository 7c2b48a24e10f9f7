"""Schedule strings: everything that was drawn in a schedule, as one line that a person can paste.

`ksm2:` is followed by base64url of a CRC-32 (4 bytes, big endian) and a zlib stream. The stream holds varints
(7 bits a byte, least significant first):

    header  length, then as many bytes of JSON with sorted keys
    texts   how many, then each with its length in bytes of UTF-8
    draws   how many, then for each: number of its label among the texts, n, value
    turns   how many runs, then for each: ready mask XOR the mask before, index of the chosen one among the
            ready, points in the run
    departures  how many, then for each: numbers among the texts of the actor that had the turn, of what it was about to
            do and of the actor that got the turn; points that the first one had passed in its turns; 0 if it could have
            gone on, else how many times in a row it had been stuck there

A run is a stretch of equal choices: it is what a replay follows, exactly. The departures from the default order say
the same by names: they are what can still be followed when unrelated code has changed (`strategies.follow`). Whatever
changes in here, or in what a schedule means to the conductor, makes old strings useless, and needs a new number in the
prefix.
"""

from __future__ import annotations

import binascii
import json
import re
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, NamedTuple

from ksmactors.errors import ScheduleFormatError
from ksmactors.interleave.labels import told
from ksmactors.interleave.tape import Tape

VERSION: Final = 2
PREFIX: Final = f"ksm{VERSION}:"

TURNS_MAX: Final = 1 << 26
"""Choices in a schedule that are believed: ten times the default step limit. More is damage, and would fill memory."""

BYTES_MAX: Final = 1 << 28
"""Bytes of the unpacked stream that are believed."""


class Departure(NamedTuple):
    """A choice that departs from the default order, by names.

    Attributes:
        actor: who had the turn.
        doing: what it was about to do, or waited for, in words: "reads kpfn/7".
        to: who got the turn.
        at: how many points the first one had passed in all its turns.
        stuck: 0 if it could have gone on; else how many times in a row it had been stuck at that point.
    """

    actor: str
    doing: str
    to: str
    at: int
    stuck: int


@dataclass(slots=True)
class Schedule:
    """What was chosen and drawn, and what it was recorded with.

    `header` is for whoever starts the run (workload, parameters, kernel, seed, strategy...): values are what JSON
    has. `turns` and `draws` are as in Tape; `departures` say the same as `turns`, by names.
    """

    header: dict[str, Any] = field(default_factory=dict)
    turns: list[tuple[int, int]] = field(default_factory=list)
    draws: list[tuple[str, int, int]] = field(default_factory=list)
    departures: list[Departure] = field(default_factory=list)


def recorded(header: dict[str, Any], tape: Tape) -> Schedule:
    """The schedule that is on a tape."""
    return Schedule(header, tape.turns, tape.draws, departures(tape))


def departures(tape: Tape) -> list[Departure]:
    """The departures on a tape from the default order, by names."""
    return [Departure(one.actor.name, told(one.op), one.chosen.name, one.at, one.stuck) for one in tape.departures]


def looks_like_schedule(text: str) -> bool:
    """Whether a text starts as schedule strings do, of this version or another."""
    return re.match(r"\s*ksm\d+:", text) is not None


def encode(schedule: Schedule) -> str:
    """The schedule string: printable ASCII without spaces."""
    packed = zlib.compress(bytes(_Writer().schedule(schedule)), 9)
    return PREFIX + urlsafe_b64encode(zlib.crc32(packed).to_bytes(4, "big") + packed).rstrip(b"=").decode()


def decode(text: str) -> Schedule:
    """The schedule that a string stands for; white space in it, as a mail program leaves it, does not matter.

    Raises:
        ScheduleFormatError: it is none, is of another version, or was damaged; the message says which.
    """
    text = "".join(text.split())
    prefix = re.match(r"ksm(\d+):", text)
    if prefix is None:
        raise ScheduleFormatError(f"a schedule string starts with {PREFIX}, this starts with {text[:12]!r}")
    if prefix[0] != PREFIX:
        raise ScheduleFormatError(f"the schedule string has version {prefix[1]}, this program reads version {VERSION}")
    stream = _unpacked(text[len(PREFIX) :])
    try:
        return _Reader(stream).schedule()
    except (IndexError, ValueError) as error:  # the checksum was right: somebody wrote it like that
        raise ScheduleFormatError(f"the schedule string makes no sense: {error}") from None


def runs(turns: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Stretches of equal choices: (ready mask, chosen, how many)."""
    for (mask, chosen), stretch in groupby(turns):
        yield mask, chosen, sum(1 for _ in stretch)


def numbers(mask: int) -> list[int]:
    """The actor numbers in a ready mask, in ascending order."""
    return [number for number in range(mask.bit_length()) if mask >> number & 1]


def _unpacked(text: str) -> bytes:
    """The zlib stream behind the prefix, checked and unpacked."""
    wrong = re.search(r"[^A-Za-z0-9_-]", text)
    if wrong:
        place = len(PREFIX) + wrong.start() + 1
        raise ScheduleFormatError(f"the schedule string is damaged: {wrong[0]!r} at character {place}")
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise ScheduleFormatError("the schedule string is damaged: its length is wrong; was it copied whole?") from None
    checksum, packed = data[:4], data[4:]
    if not packed or zlib.crc32(packed) != int.from_bytes(checksum, "big"):
        raise ScheduleFormatError("the schedule string is damaged: its checksum is wrong; was it copied whole?")
    unpacker = zlib.decompressobj()
    try:
        stream = unpacker.decompress(packed, BYTES_MAX)
    except zlib.error as error:
        raise ScheduleFormatError(f"the schedule string makes no sense: {error}") from None
    if not unpacker.eof:
        raise ScheduleFormatError("the schedule string makes no sense: its stream does not end")
    return stream


class _Writer(bytearray):
    def schedule(self, schedule: Schedule) -> _Writer:
        self.text(json.dumps(schedule.header, sort_keys=True, separators=(",", ":")))
        named = (text for departure in schedule.departures for text in departure[:3])
        texts = dict.fromkeys((*(label for label, _, _ in schedule.draws), *named))
        places = {text: place for place, text in enumerate(texts)}
        self.number(len(texts))
        for text in texts:
            self.text(text)
        self.number(len(schedule.draws))
        for label, n, value in schedule.draws:
            self.number(places[label], n, value)
        stretches = list(runs(schedule.turns))
        self.number(len(stretches))
        before = 0
        for mask, chosen, points in stretches:
            self.number(mask ^ before, numbers(mask).index(chosen), points)
            before = mask
        self.number(len(schedule.departures))
        for actor, doing, to, at, stuck in schedule.departures:
            self.number(places[actor], places[doing], places[to], at, stuck)
        return self

    def number(self, *values: int) -> None:
        for value in values:
            while value > 0x7F:
                self.append(value & 0x7F | 0x80)
                value >>= 7
            self.append(value)

    def text(self, text: str) -> None:
        data = text.encode()
        self.number(len(data))
        self.extend(data)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def schedule(self) -> Schedule:
        header = json.loads(self.text())
        if not isinstance(header, dict):
            raise ValueError("its header is no object")  # told as a damaged string by `decode`
        texts = [self.text() for _ in range(self.number())]
        draws = [self.draw(texts) for _ in range(self.number())]
        turns = self.turns()
        departures = [self.departure(texts) for _ in range(self.number())]
        if self.at != len(self.data):
            raise ValueError("something follows its end")
        return Schedule(header, turns, draws, departures)

    def departure(self, texts: list[str]) -> Departure:
        actor, doing, to = (texts[self.number()] for _ in range(3))
        return Departure(actor, doing, to, self.number(), self.number())

    def draw(self, labels: list[str]) -> tuple[str, int, int]:
        label, n, value = labels[self.number()], self.number(), self.number()
        if value >= n:
            raise ValueError(f"draws {value} from 0..{n - 1} for {label!r}")
        return label, n, value

    def turns(self) -> list[tuple[int, int]]:
        turns: list[tuple[int, int]] = []
        mask = 0
        for _ in range(self.number()):
            mask ^= self.number()
            ready, index, points = numbers(mask), self.number(), self.number()
            if len(turns) + points > TURNS_MAX:
                raise ValueError(f"more than {TURNS_MAX} choices")
            turns.extend([(mask, ready[index])] * points)
        return turns

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def text(self) -> str:
        length = self.number()
        data = self.data[self.at : self.at + length]
        if len(data) < length:
            raise IndexError("its end is missing")
        self.at += length
        return data.decode()
