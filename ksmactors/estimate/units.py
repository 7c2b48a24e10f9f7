"""Numbers as a person reads them."""

from __future__ import annotations

from typing import Final

from ksmactors.quantity import quantity

UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: int) -> str:
    """Bytes in the largest unit that leaves at least one, with one decimal, cut off."""
    sign, rest = ("-", -count) if count < 0 else ("", count)
    power = 0
    while power + 1 < len(UNITS) and rest >= 1024 ** (power + 1):
        power += 1
    if not power:
        return f"{sign}{rest} {'byte' if rest == 1 else 'bytes'}"
    tenths = rest * 10 // 1024**power
    return f"{sign}{tenths // 10:,}.{tenths % 10} {UNITS[power]}"


def duration(milliseconds: int) -> str:
    """Milliseconds as a person says them."""
    seconds = milliseconds // 1000
    if seconds < 60:
        return f"{seconds}.{milliseconds % 1000 // 100} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def page_count(count: int) -> str:
    """So many pages."""
    return quantity(count, "page")
