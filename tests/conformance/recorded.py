"""What real kernels did: every recording of the project, with its scenario."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from ksmactors.conformance.language import Scenario, read_scenario

HERE: Final = Path(__file__).parent

PLAIN: Final = "plain"
"""The set of scenarios without interleavings, recorded first: on v3.9 too."""

SETS: Final = (
    PLAIN, "differences", "live", "confirmed", "offline", "races", "one_node", "hwpoison", "softoffline", "guest",
)  # fmt: skip
"""`one_node` is of a 6.18.44 on a machine of one node without swap, where `conform --live` made it; `guest` is of what
random scenarios had shown on guests."""

KERNELS: Final = ("v3.9", "v6.1", "v6.12", "v6.18", "v7.3")

LUCK: Final = frozenset({("v6.1", "h5_node_address_reused"), ("v6.1", "c_71108_h5")})
"""H5 depends on which address the slab gives out; 6.1's did so by chance. These are performed, not compared."""


def folder_of(kind: str) -> Path:
    """Where a set of recordings is."""
    return HERE if kind == PLAIN else HERE / kind


def scenario_file(kind: str, kernel: str, name: str) -> Path:
    """The scenario of a recording; those of kernels that search before they look at the checksum are a set apart."""
    folder = "scenarios-stable-first" if (kind, kernel) == ("races", "v6.1") else "scenarios"
    return folder_of(kind) / folder / f"{name}.txt"


@cache
def scenario_of(file: Path) -> Scenario:
    """What a file has, which several kernels perform. It cannot be changed."""
    return read_scenario(file)


def recording_file(kind: str, kernel: str, name: str) -> Path:
    """What a kernel did."""
    return folder_of(kind) / "results" / kernel / f"{name}.out"


def recordings(*kinds: str) -> list[tuple[str, str, str]]:
    """Every recording of some sets, or of all, as (set, kernel, name)."""
    return [
        (kind, kernel, path.stem)
        for kind in kinds or SETS
        for kernel in KERNELS
        for path in sorted((folder_of(kind) / "results" / kernel).glob("*.out"))
    ]
