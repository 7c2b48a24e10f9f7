"""A scenario with merging, breaking, migrations and collisions, for tests that perform it on many kernels."""

from __future__ import annotations

from pathlib import Path

from ksmactors.conformance.language import parse

_RECORDED = Path(__file__).parents[1] / "conformance" / "scenarios" / "55_man0_migrate_collision.txt"

BUSY = parse(_RECORDED.read_text().replace("tracescan 3 frames trees", "scan 3") + "trees\n")
"""It looks at the trees now and then, and not after every page as the recorded one, which `test_recordings` has."""
