"""Blocks as rows of a store, and back: what is read is checked, since it may come from somebody else."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from ksmactors.campaign.blocks import DIGEST, SHAPE, VERDICTS, Block
from ksmactors.campaign.summary import counted
from ksmactors.escaping import quoted
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.quantity import quantity
from ksmactors.watch.lock_graph import Edge

_CODES: Final = {event.name: code for code, event in enumerate(CATALOGUE)}

SCHEDULES_LIMIT: Final = 10_000
"""Schedules in a block that is read."""

UNPACKED_MAX: Final = 64 << 20
"""Bytes of the JSON in a row."""

EXPANSION_MAX: Final = 200
"""Bytes of JSON for a packed byte, beyond the first `EXPANSION_FREE`: a small file cannot keep its reader busy."""

EXPANSION_FREE: Final = 64 << 10

PARTS_MAX: Final = 2_000_000
"""Values in the JSON of a row, each of which may take a hundred bytes of memory."""


MOMENT_MAX: Final = 1e12
"""Seconds since 1970 that a store may name."""


class BlockRow(NamedTuple):
    """A block as the table `blocks` has it: `sums` and `rows` are JSON, packed by zlib."""

    first: int
    schedules: int
    verdicts: bytes
    digests: bytes
    shapes: bytes
    sums: bytes
    rows: bytes
    checksum: bytes


def row_of(block: Block) -> BlockRow:
    """Return the row of a block."""
    sums = {
        "steps": sum(block.steps),
        "choices": sum(block.choices),
        "micros": sum(block.micros),
        "events": {CATALOGUE[code].name: counts for code, counts in block.events.items()},
        "metrics": dict(block.metrics),
        "edges": [[place, *edge[:5]] for place, edge in block.edges],
        **({"arms": list(block.arms)} if block.arms else {}),
    }
    rows = {
        "steps": list(block.steps),
        "choices": list(block.choices),
        "micros": list(block.micros),
        "marks": [[*key, [list(pair) for pair in passed]] for key, passed in block.marks.items()],
    }
    texts = [_packed(as_json(part).encode()) for part in (sums, rows)]
    row = BlockRow(
        block.seeds.start, len(block.seeds), block.verdicts, block.digests, block.shapes, texts[0], texts[1], b""
    )
    return row._replace(checksum=checksum(*row[:-1]))


def _packed(text: bytes) -> bytes:
    """Pack a text by zlib; not at all if a reader would find it too dense."""
    packed = zlib.compress(text)
    return packed if len(text) <= _unpacked_max(packed) else zlib.compress(text, 0)


def _unpacked_max(packed: bytes) -> int:
    """The bytes that some packed ones may have."""
    return min(UNPACKED_MAX, EXPANSION_FREE + EXPANSION_MAX * len(packed))


def as_json(value: object) -> str:
    """Return compact JSON that SQLite can hold."""
    return as_utf8(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def as_utf8(text: str) -> str:
    """Return a text without what UTF-8 does not have, such as a lone surrogate in a message."""
    return text.encode("utf-8", "replace").decode()


def checksum(*values: int | str | bytes) -> bytes:
    """Return a checksum over the values of a row, none of which may be NULL."""
    hashed = hashlib.blake2b(digest_size=8)
    for value in values:
        data = value if isinstance(value, bytes) else str(value).encode()
        hashed.update(len(data).to_bytes(8, "little") + data)
    return hashed.digest()


def block_of(row: BlockRow) -> Block:
    """Return the block of a row.

    Raises:
        LookupError, TypeError, ValueError, zlib.error: it is none, or was changed.
    """
    if checksum(*row[:-1]) != row.checksum:
        raise ValueError(f"the block of seed {row.first} was changed")
    first, count = counted(row.first), counted(row.schedules)
    if not 0 < count <= SCHEDULES_LIMIT:
        raise ValueError(f"a block of {quantity(count, 'schedule')}")
    for blob, size in ((row.verdicts, 1), (row.digests, DIGEST), (row.shapes, SHAPE)):
        if not isinstance(blob, bytes) or len(blob) != count * size:
            raise ValueError(f"the block of seed {first} has not what {quantity(count, 'schedule')} have")
    if max(row.verdicts) >= len(VERDICTS):
        raise ValueError("there is no such verdict")
    sums, rows = parsed(_unpacked(row.sums)), parsed(_unpacked(row.rows))
    return Block(
        range(first, first + count), row.verdicts, row.digests, row.shapes,
        _numbers(rows["steps"], count), _numbers(rows["choices"], count), _numbers(rows["micros"], count),
        {_CODES[name]: _pair(counts) for name, counts in sums["events"].items()},
        {(_text(one[0]), _text(one[1])): _passed(one[2], count) for one in rows["marks"]},
        {_text(name): counted(value) for name, value in sums["metrics"].items()},
        [_edge(one, count) for one in sums["edges"]],
        _numbers(sums["arms"], count) if "arms" in sums else (),
    )  # fmt: skip


def parsed(text: str | bytes) -> Any:
    """Return the value of JSON that somebody else may have written.

    Raises:
        ValueError: it is none, or has more values than a row of ours.
    """
    data = text.encode() if isinstance(text, str) else text
    if sum(map(data.count, (b",", b"[", b"{"))) > PARTS_MAX:
        raise ValueError("a row has too many values")
    return orjson.loads(data)


def moment_of(value: object) -> float:
    """Return a time in seconds since 1970 that was read.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, int | float) or not 0 <= value < MOMENT_MAX:
        raise ValueError(f"{quoted(value)} is no time")
    return float(value)


def _unpacked(packed: bytes) -> bytes:
    """Return what zlib has packed, unless it is more than a block may have."""
    unpacking = zlib.decompressobj()
    data = unpacking.decompress(packed, _unpacked_max(packed))
    if not unpacking.eof:
        raise ValueError("a part of a block is cut off, or too large")
    return data


def _numbers(values: object, count: int) -> Sequence[int]:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"not one number for each of {quantity(count, 'schedule')}")
    if set(map(type, values)) != {int} or min(values) < 0 or max(values) >= 1 << 63:
        raise ValueError("a number of a schedule is no count")
    return values


def _pair(values: Any) -> tuple[int, int]:
    count, within = values
    return counted(count), counted(within)


def _passed(values: Any, count: int) -> list[tuple[int, int]]:
    passed = [_pair(pair) for pair in values]
    if any(place >= count for place, _ in passed):
        raise ValueError("a mark of a schedule that is not there")
    return passed


def _edge(values: Any, count: int) -> tuple[int, Edge]:
    place, held, taken, held_in, taken_in, actor = values
    if counted(place) >= count:
        raise ValueError("a lock of a schedule that is not there")
    return place, Edge(_text(held), _text(taken), _text(held_in), _text(taken_in), _text(actor))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{quoted(value)} is no text")
    return value
