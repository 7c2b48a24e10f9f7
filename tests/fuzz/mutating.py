"""Mutations of bytes and of JSON, drawn by hypothesis: small lists of numbers, so that it can shrink them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

Change: TypeAlias = tuple[int, int, int]
"""Which mutation, where, and with what."""

CHANGES: Final = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1)), min_size=1, max_size=6
)

TOKENS: Final = (
    b"0", b"-1", b"1", b"255", b"4096", b"65535", b"4294967296", b"9223372036854775808", b"18446744073709551616",
    b"1e308", b"NaN", b"null", b"true", b'"', b"{", b"[", b"\\", b"\0", b"\n", b"\x1b]0;x\x07", b"\xff\xfe",
    "\u202e".encode(), b"../../etc/passwd", b"9" * 5000, b"[" * 3000,
)  # fmt: skip

WORDS: Final = (
    0,
    1,
    0x7F,
    0xFF,
    0x1000,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    1 << 40,
    1 << 62,
    (1 << 63) - 1,
    (1 << 64) - 1,
)

VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 64, 1 << 31, 1 << 63, 1 << 64, 10**400, 1.5, float("nan"), "", "x", "all", "\x1b[31m",
    "\ud800", "9" * 5000, "../x.py:X", "os:system", [], [[]], {}, {"a": 1}, ["x", "y"], [0, 1, 2],
)  # fmt: skip

_NUMBER: Final = re.compile(rb"[0-9]+")


def mutated(data: bytes, others: Sequence[bytes], changes: Sequence[Change]) -> bytes:
    """Bytes with some mutations, each near a place that depends on the length."""
    for which, where, what in changes:
        at = where % (len(data) + 1)
        data = _BYTES[which % len(_BYTES)](data, at, what, others)
    return data


def _flip(data: bytes, at: int, what: int, _: Sequence[bytes]) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << what % 8]) + data[at + 1 :] if at < len(data) else data


def _cut(data: bytes, at: int, what: int, _: Sequence[bytes]) -> bytes:
    return data[:at] + data[at + 1 + what % 64 :]


def _repeat(data: bytes, at: int, what: int, _: Sequence[bytes]) -> bytes:
    piece = data[at : at + 1 + what % 200]
    return data[:at] + piece * (1 + what % 7) + data[at:]


def _insert(data: bytes, at: int, what: int, _: Sequence[bytes]) -> bytes:
    return data[:at] + TOKENS[what % len(TOKENS)] + data[at:]


def _number(data: bytes, at: int, what: int, _: Sequence[bytes]) -> bytes:
    found = _NUMBER.search(data, at) or _NUMBER.search(data)
    return data if found is None else data[: found.start()] + TOKENS[what % len(TOKENS)] + data[found.end() :]


def _end(data: bytes, at: int, what: int, _: Sequence[bytes]) -> bytes:
    return data[:at] if what % 4 == 0 else data


def _word(data: bytes, at: int, what: int, _: Sequence[bytes]) -> bytes:
    size = (1, 2, 4, 8)[what % 4]
    at -= at % size
    value = WORDS[what // 4 % len(WORDS)] & (1 << 8 * size) - 1
    return data[:at] + value.to_bytes(size, "little" if what % 3 else "big") + data[at + size :]


def _splice(data: bytes, at: int, what: int, others: Sequence[bytes]) -> bytes:
    other = others[what % len(others)]
    return data[:at] + other[at % (len(other) + 1) :]


def _lines(data: bytes, at: int, what: int, _: Sequence[bytes]) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) > 1:
        first, second = at % len(lines), what % len(lines)
        lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


_BYTES: Final[tuple[Callable[[bytes, int, int, Sequence[bytes]], bytes], ...]] = (
    _flip, _cut, _repeat, _insert, _number, _end, _word, _splice, _lines, _number, _insert,
)  # fmt: skip


def mutated_json(content: Any, changes: Sequence[Change]) -> Any:
    """JSON with some of its values changed, removed or repeated."""
    content = deepcopy(content)
    for which, where, what in changes:
        places = list(_places(content))
        if not places:
            return deepcopy(VALUES[what % len(VALUES)])
        inside, key = places[where % len(places)]
        if which % 8 == 0:
            del inside[key]
        elif which % 8 == 1 and isinstance(inside, list):
            inside.insert(key, deepcopy(inside[key]))
        elif which % 8 == 2:
            other, other_key = places[what % len(places)]
            inside[key] = deepcopy(other[other_key])
        elif which % 8 in (3, 4) and isinstance(inside[key], int):
            inside[key] = inside[key] + (what % 5 - 2) if which % 8 == 3 else WORDS[what % len(WORDS)]
        else:
            inside[key] = deepcopy(VALUES[what % len(VALUES)])
    return content


def _places(content: Any) -> Any:
    """Every (container, key) in a JSON value."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(items):
        yield content, key
        yield from _places(value)
