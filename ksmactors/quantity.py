"""Numbers of things, as texts for people have them."""

from __future__ import annotations


def quantity(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 schedule`, `1,000 schedules`, `2 entries`.

    Args:
        count: how many there are.
        noun: what one of them is called.
        plural: what several are called, if that is not the noun with an s.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
