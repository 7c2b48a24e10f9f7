"""merge_across_nodes is switched in the middle of a scan."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Scene


class ScanMeetsSwitch(Litmus):
    """ksmd comes to a process that has exited, whose page it had put in an unstable tree earlier in this scan."""

    name = "litmus.scan_meets_switch"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.process("B", 8)
        await scene.scan()
        await scene.batch(1)
        await scene.exit(a)
        switch = scene.set("merge_across_nodes", 1 - self.merge_across_nodes)
        await scene.concurrent({"ksmd": scene.scan(), "admin": switch})


class PassingMeetsSwitch(Litmus):
    """ksmd passes over a KSM page that moves to another node, and merge_across_nodes is written."""

    name = "litmus.passing_meets_switch"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        await scene.store(b, 0, 8)
        page = scene.frame(a, 0)
        switch = scene.set("merge_across_nodes", 1 - self.merge_across_nodes)
        migration = scene.kernel.migrate_frame(page, 1 - page.nid)
        await scene.concurrent({"ksmd": scene.scan(), "migrationd/1": migration, "admin": switch})
