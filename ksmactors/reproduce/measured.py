"""How often the programs of cases that are races have met them."""

from __future__ import annotations

from typing import Final

MEASURED: Final[dict[str, str]] = {}
"""A sentence, by case."""
