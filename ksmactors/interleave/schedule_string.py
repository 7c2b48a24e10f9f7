"""Schedule strings: everything drawn in a schedule, as one line that can be copied and pasted.

`ksm2:` is followed by base64url of a CRC-32 (4 bytes, big endian) and a zlib stream. The stream holds varints (7 bits a
byte, least significant first):

    header  length, then as many bytes of JSON with sorted keys
    texts   how many, then each with its length in bytes of UTF-8
    draws   how many, then for each: number of its label among the texts, n, value
    turns   how many runs, then for each: ready mask XOR the mask before, index of the chosen one among the
            ready, points in the run
    departures  how many, then for each: numbers among the texts of the actor that had the turn, of its next operation
            and of the actor that got the turn; points that the first one had passed in its turns; 0 if it could have
            continued, else how many times in a row it had been stuck there

A run is a sequence of equal choices; a replay follows the runs exactly. The departures from the default order describe
the same schedule by names, so they can still be followed after unrelated code has changed
(`strategies.replay_by_name`). A change of this format, or of how the conductor interprets a schedule, invalidates old
strings and needs a new number in the prefix.
"""

from __future__ import annotations

import binascii
import json
import re
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from typing_extensions import override

from ksmactors.errors import ScheduleFormatError
from ksmactors.interleave.labels import describe_operation
from ksmactors.interleave.tape import Tape

T = TypeVar("T")

VERSION: Final = 2
PREFIX: Final = f"ksm{VERSION}:"

TURNS_MAX: Final = 1 << 26
"""Choices accepted in a schedule: ten times the default step limit. More is damage, and would fill memory."""

TURNS_PER_STEP: Final = 4
"""Choices accepted for each step of the `max_steps` of a schedule: at a step, and where an actor blocks or ends."""

RUNS_MAX: Final = 1 << 23
"""Runs of equal choices accepted: more than the default step limit has steps."""

ACTORS_MAX: Final = 4096
"""Actors accepted in a schedule."""

BYTES_MAX: Final = 1 << 26
"""Bytes accepted of the unpacked stream."""

EXPANSION_MAX: Final = 200
"""Unpacked bytes accepted for each packed one. Schedules have two or three, a livelock of two actors more."""

EXPANSION_FREE: Final = 1 << 16
"""Unpacked bytes accepted regardless of the number of packed ones."""

LOOSE: Final = 1 << 11
"""Bytes of a stream that are packed separately if packing all together would exceed `EXPANSION_MAX`."""

MASK_BYTES_MAX: Final = 1 << 28
"""Bytes of memory for ready masks: a run of three bytes can have a mask of hundreds."""

NUMBER_BYTES: Final = 10
"""Bytes of a number in the stream, which is below 2**70; only a ready mask may have one bit for each actor."""

MASK_BYTES: Final = ACTORS_MAX // 7 + 1


class Departure(NamedTuple):
    """A choice that departs from the default order, by names.

    Attributes:
        actor: the actor that had the turn.
        doing: its next operation, or what it waited for, in words: "reads kpfn/7".
        to: the actor that got the turn.
        at: how many points the first one had passed in all its turns.
        stuck: 0 if it could have continued; else how many times in a row it had been stuck at that point.
    """

    actor: str
    doing: str
    to: str
    at: int
    stuck: int


Run: TypeAlias = tuple[int, int, int]
"""The ready mask, the number of the chosen actor, how many equal choices."""


class Schedule:
    """The choices and draws of a schedule, and the settings it was recorded with.

    `header` holds the settings that start the run (workload, parameters, kernel, seed, strategy...) as JSON values.
    `turns` and `draws` are as in Tape; `departures` describe the `turns` by names. `runs` are the turns as sequences of
    equal choices, which take less memory; give one of the two. `ceiling` limits the steps of a replay of an untrusted
    schedule, whatever its header says; None is no limit.
    """

    __slots__ = ("_runs", "_turns", "ceiling", "departures", "draws", "header")

    def __init__(
        self,
        header: dict[str, Any] | None = None,
        turns: list[tuple[int, int]] | None = None,
        draws: list[tuple[str, int, int]] | None = None,
        departures: list[Departure] | None = None,
        *,
        runs: list[Run] | None = None,
    ) -> None:
        self.header = {} if header is None else header
        self.draws = [] if draws is None else draws
        self.departures = [] if departures is None else departures
        self.ceiling: int | None = None
        self._runs = runs
        self._turns = [] if turns is None and runs is None else turns

    @property
    def turns(self) -> list[tuple[int, int]]:
        """One (ready mask, chosen number) for each choice. May be changed: the runs follow."""
        if self._turns is None:
            self._turns = [(mask, chosen) for mask, chosen, points in self._runs or () for _ in range(points)]
            self._runs = None
        return self._turns

    @turns.setter
    def turns(self, turns: list[tuple[int, int]]) -> None:
        self._turns, self._runs = turns, None

    @property
    def runs(self) -> list[Run]:
        """The turns as sequences of equal choices."""
        return list(runs(self._turns)) if self._turns is not None else self._runs or []

    @property
    def choices(self) -> int:
        """How many turns there are."""
        return len(self._turns) if self._turns is not None else sum(points for _, _, points in self._runs or ())

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return NotImplemented
        return self._parts() == other._parts()

    __hash__ = None  # type: ignore[assignment]  # its turns may be changed

    @override
    def __repr__(self) -> str:
        return f"Schedule({self.header!r}, {self.choices} choices, {len(self.draws)} draws)"

    def _parts(self) -> tuple[object, ...]:
        return self.header, self.runs, self.draws, self.departures


def recorded(header: dict[str, Any], tape: Tape) -> Schedule:
    """Return the schedule recorded on a tape."""
    return Schedule(header, tape.turns, tape.draws, departures(tape))


def departures(tape: Tape) -> list[Departure]:
    """Return the departures from the default order on a tape, by names."""
    return [
        Departure(one.actor.name, describe_operation(one.op), one.chosen.name, one.at, one.stuck)
        for one in tape.departures
    ]


def looks_like_schedule(text: str) -> bool:
    """Whether a text starts like a schedule string, of this version or another."""
    return re.match(r"\s*ksm\d+:", text) is not None


def encode(schedule: Schedule) -> str:
    """Return the schedule string: printable ASCII without spaces."""
    packed = _packed(bytes(_ScheduleWriter().schedule(schedule)))
    return PREFIX + urlsafe_b64encode(zlib.crc32(packed).to_bytes(4, "big") + packed).rstrip(b"=").decode()


def decode(text: str) -> Schedule:
    """Parse a schedule string. White space in it, such as line breaks of a mail program, is ignored.

    Raises:
        ScheduleFormatError: it is no schedule string, has another version, or is damaged; the message says which.
    """
    return _sensible("".join(text.split()), _ScheduleReader.schedule)


def header_of(text: str) -> dict[str, Any]:
    """Return the header of a schedule string without parsing the rest. Raises as `decode`, for the part that is
    parsed."""
    return _sensible("".join(text.split()), _ScheduleReader.header)


def runs(turns: Iterable[tuple[int, int]]) -> Iterator[Run]:
    """Yield the sequences of equal choices."""
    for (mask, chosen), stretch in groupby(turns):
        yield mask, chosen, sum(1 for _ in stretch)


def numbers(mask: int) -> list[int]:
    """Return the actor numbers in a ready mask, in ascending order."""
    return [number for number in range(mask.bit_length()) if mask >> number & 1]


def _packed(stream: bytes) -> bytes:
    packed = zlib.compress(stream, 9)
    if len(stream) < _unpacked_max(packed):
        return packed
    packer = zlib.compressobj(9)
    parts = (stream[start : start + LOOSE] for start in range(0, len(stream), LOOSE))
    return b"".join(packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH) for part in parts) + packer.flush()


def _unpacked_max(packed: bytes) -> int:
    return min(BYTES_MAX, EXPANSION_FREE + EXPANSION_MAX * len(packed))


def _sensible(text: str, reading: Callable[[_ScheduleReader], T]) -> T:
    """Return what `reading` parses from the stream of a schedule string without white space."""
    prefix = re.match(r"ksm(\d{1,9}):", text)
    if prefix is None:
        raise ScheduleFormatError(f"a schedule string starts with {PREFIX}, this starts with {text[:12]!r}")
    if prefix[0] != PREFIX:
        raise ScheduleFormatError(f"the schedule string has version {prefix[1]}, this program reads version {VERSION}")
    stream = _unpacked(text[len(PREFIX) :])
    try:
        return reading(_ScheduleReader(stream))
    except (IndexError, ValueError, RecursionError) as error:  # the checksum is right, so this is no transmission error
        raise ScheduleFormatError(f"the schedule string makes no sense: {error}") from None


def _unpacked(text: str) -> bytes:
    """Return the stream after the prefix, checked and decompressed."""
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
    limit = _unpacked_max(packed)
    try:
        stream = unpacker.decompress(packed, limit)
    except zlib.error as error:
        raise ScheduleFormatError(f"the schedule string makes no sense: {error}") from None
    if not unpacker.eof and len(stream) == limit:
        raise ScheduleFormatError(
            f"the schedule string makes no sense: {len(packed)} bytes unpack to more than {limit}"
        )
    if not unpacker.eof or unpacker.unused_data:
        raise ScheduleFormatError("the schedule string makes no sense: its stream does not end")
    return stream


class _ScheduleWriter(bytearray):
    def schedule(self, schedule: Schedule) -> _ScheduleWriter:
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
        stretches = schedule.runs
        self.number(len(stretches))
        before = 0
        for mask, chosen, points in stretches:
            self.number(mask ^ before, (mask & (1 << chosen) - 1).bit_count(), points)
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


class _ScheduleReader:
    """Reads an untrusted stream: checks each size before it allocates memory."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def schedule(self) -> Schedule:
        header = self.header()
        texts = [self.text() for _ in range(self.count(1))]
        draws = [self.draw(texts) for _ in range(self.count(3))]
        stretches = self.runs(_turns_max(header))
        departures = [self.departure(texts) for _ in range(self.count(5))]
        if self.at != len(self.data):
            raise ValueError("something follows its end")
        return Schedule(header, None, draws, departures, runs=stretches)

    def header(self) -> dict[str, Any]:
        header = json.loads(self.text())
        if not isinstance(header, dict):
            raise ValueError("its header is no object")  # `decode` reports a damaged string
        return header

    def departure(self, texts: list[str]) -> Departure:
        actor, doing, to = (texts[self.number()] for _ in range(3))
        return Departure(actor, doing, to, self.number(), self.number())

    def draw(self, labels: list[str]) -> tuple[str, int, int]:
        label, n, value = labels[self.number()], self.number(), self.number()
        if value >= n:
            raise ValueError(f"draws {value} from 0..{n - 1} for {label!r}")
        return label, n, value

    def runs(self, turns_max: int) -> list[Run]:
        stretches: list[Run] = []
        ready: list[int] = []
        mask = turns = 0
        room = MASK_BYTES_MAX
        count = self.count(3)
        if count > RUNS_MAX:
            raise ValueError(f"more than {RUNS_MAX} runs of choices")
        for _ in range(count):
            changed = self.number(MASK_BYTES)
            if changed:
                mask ^= changed
                room -= mask.bit_length() // 8
                for number in numbers(changed):
                    _toggle(ready, number)
            index, points = self.number(), self.number()
            turns += points
            if turns > turns_max:
                raise ValueError(f"more than {turns_max} choices")
            if not points or index >= len(ready) or mask.bit_length() > ACTORS_MAX or room < 0:
                raise ValueError("a run of choices that no schedule has")
            stretches.append((mask, ready[index], points))
        return stretches

    def count(self, size: int) -> int:
        """Return how many items of at least `size` bytes follow."""
        count = self.number()
        if count * size > len(self.data) - self.at:
            raise IndexError("its end is missing")
        return count

    def number(self, longest: int = NUMBER_BYTES) -> int:
        value = shift = 0
        for _ in range(longest):
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
        raise ValueError("a number is too large")

    def text(self) -> str:
        length = self.number()
        data = self.data[self.at : self.at + length]
        if len(data) < length:
            raise IndexError("its end is missing")
        self.at += length
        return data.decode()


def _turns_max(header: Mapping[str, Any]) -> int:
    """Return how many choices are accepted of a schedule with that header."""
    steps = header.get("max_steps")
    return min(TURNS_MAX, TURNS_PER_STEP * steps + ACTORS_MAX) if isinstance(steps, int) and steps > 0 else TURNS_MAX


def _toggle(ready: list[int], number: int) -> None:
    """Add an actor to the sorted ready set, or remove it."""
    place = bisect_left(ready, number)
    if place < len(ready) and ready[place] == number:
        del ready[place]
    else:
        ready.insert(place, number)
