"""Recognize lines that need no parsing, from how they look: the lines of a log differ mostly in their digits.

The form of a line is the line with a 0 for each digit. If a line is an event as it stands, so is every other line of
its form, but for numbers that begin with a 0. A block of lines is compared with the known forms in a few calls, which
takes a tenth of the time of parsing each line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import orjson

FORMS_MAX: Final = 1 << 16
"""Forms that are kept; a log of detail has some 35,000 for each million events."""

SIZE_MAX: Final = 1_000
"""Bytes of a form that is kept."""

_ZEROS: Final = bytes.maketrans(b"123456789", b"0" * 9)
_NO_NUMBER: Final = re.compile(rb'":(?:0[0-9]|-0)')
"""No number of JSON, or one that is read in two ways."""

_LARGE: Final = re.compile(rb"[0-9]{19}")
"""A number of so many digits can be beyond 64 bits."""

_NUMBERED: Final = b'{"line":%d,%b\n'


class Forms:
    """The known forms. A line has no newline here."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def numbered(self, block: bytes, first: int) -> bytes | None:
        """Return the lines of a block with their numbers, from `first`; None if not all of them are of known forms."""
        forms = block.translate(_ZEROS).split(b"\n")
        del forms[-1]
        if not self._known.issuperset(forms) or _NO_NUMBER.search(block):
            return None
        lines = block[1:-1].split(b"\n{")
        return b"".join([_NUMBERED % pair for pair in enumerate(lines, first)])

    def sorted_out(self, block: bytes) -> Iterator[tuple[bytes, bool]]:
        """The lines of a block, and whether each is of a known form; forms that are learned meanwhile count."""
        known, doubtful = self._known, _NO_NUMBER.search(block) is not None
        for line, form in zip(block.split(b"\n")[:-1], block.translate(_ZEROS).split(b"\n"), strict=False):
            yield line, form in known and not (doubtful and _NO_NUMBER.search(line))

    def learn(self, line: bytes) -> None:
        """Remember the form of a line that is an event as it stands, if nothing but its digits can differ.

        Not so with escapes, whose digits are not free, keys with digits, and numbers that may be too large. JSON that
        is not written as orjson writes it is left out too: whatever is odd in it is odd in few lines.
        """
        if len(line) > SIZE_MAX or b"\\" in line or _LARGE.search(line):
            return
        event = orjson.loads(line)
        if orjson.dumps(event) != line or any(map(_has_digit, event)):
            return
        if not all(value is None or isinstance(value, (str, int)) for value in event.values()):
            return
        if len(self._known) >= FORMS_MAX:
            self._known.clear()
        self._known.add(line.translate(_ZEROS))


def _has_digit(key: str) -> bool:
    return any(character.isdigit() for character in key)
