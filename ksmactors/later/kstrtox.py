"""The parsers of lib/kstrtox.c that the files of later kernels use: a value, or a negative errno."""

from __future__ import annotations

import re
from typing import Final

from ksmactors.ksm.sysfs import ULONG_MAX, decimal
from ksmactors.mm.const import EINVAL, ERANGE

INT_MAX: Final = (1 << 31) - 1

_SIGNED: Final = re.compile(r"[+-]?[0-9]+\n?")


def kstrtoint(text: str) -> tuple[int, int]:
    """Parse a signed 32-bit number, base 10: (0, the number), or (-EINVAL or -ERANGE, 0)."""
    if not _SIGNED.fullmatch(text):
        return -EINVAL, 0
    value = decimal(text)
    return (0, value) if -INT_MAX - 1 <= value <= INT_MAX else (-ERANGE, 0)


def unsigned(text: str, limit: int = ULONG_MAX) -> int:
    """Parse an unsigned number; every refusal is -EINVAL, a number above `limit` included."""
    if not _SIGNED.fullmatch(text) or text.startswith("-") or decimal(text) > limit:
        return -EINVAL
    return decimal(text)
