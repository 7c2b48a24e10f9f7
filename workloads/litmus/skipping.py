"""Pages that smart_scan looks at less and less often, on kernels that have it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Scene

SCANS_BEFORE = 13
"""After so many an item is skipped eight times in a row, and one that comes now will never be in step with it."""


class StartMeetsScans(Litmus):
    """A process comes to a page that is equal to another's, which ksmd has looked at for many scans already."""

    name = "litmus.start_meets_scans"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("A", 7)
        b = await scene.process("B")
        await scene.scan(SCANS_BEFORE)
        await scene.concurrent({"ksmd": scene.scan(3), "thread/B": scene.store(b, 0, 7)})
