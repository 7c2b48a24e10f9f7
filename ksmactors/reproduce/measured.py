"""How often the programs of cases that are races have met them."""

from __future__ import annotations

from typing import Final

WHERE: Final = "in a minute on Linux 6.12.117 (Debian), in a guest with two emulated processors"

MEASURED: Final[dict[str, str]] = {
    "H1": f"It was met in 0 of 370 rounds {WHERE}.",
    "H4": f"It was met in 0 of 376 rounds {WHERE}.",
}
"""A sentence, by case."""
