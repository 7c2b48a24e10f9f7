"""Equal KSM pages side by side in a tree, on kernels that have max_page_sharing."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from workloads.litmus.nodes import ByNode
from workloads.litmus.unmerge import into_swap_cache


async def limit_sharing(scene: Scene, most: int = 2) -> None:
    """Limit the mappings of a KSM page, have every look at a chain prune it, and leave no page out of a scan."""
    for knob, value in ("max_page_sharing", most), ("stable_node_chains_prune_millisecs", 0), ("smart_scan", 0):
        await scene.set(knob, value)


class ChainMeetsExit(ByNode):
    """A moved KSM page meets a chain of two equal ones, of which one is freed just then."""

    name = "litmus.chain_meets_exit"

    @override
    async def run(self, scene: Scene) -> None:
        await limit_sharing(scene)
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        far = [await scene.process(name, 7, nid=1) for name in ("C", "D", "E", "F")]
        await scene.scan(4)
        await scene.exit(far[2])
        await scene.scan()
        await scene.migrate(a, 0, 1)
        await scene.concurrent({"ksmd": scene.batch(1), "exit/F": scene.exit(far[3])})


class ChainMeetsReclaim(Litmus):
    """ksmd makes a second KSM page of one content while the two pages that it is made of go to swap."""

    name = "litmus.chain_meets_reclaim"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        await limit_sharing(scene)
        for name in ("A", "B"):
            await scene.process(name, 7)
        await scene.scan(2)
        await scene.process("C", 7)
        d = await scene.process("D", 7)
        await scene.scan()
        await scene.batch(3)
        await scene.concurrent({"ksmd": scene.batch(1), "kswapd/0": scene.to_swap_cache(d, 0)})


class ChainMeetsMigration(ByNode):
    """Two processes come to a chain of two equal KSM pages that both have room, while one of these moves away."""

    name = "litmus.chain_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        await limit_sharing(scene, 4)
        procs = [await scene.process(name, 7) for name in "ABCDEF"]
        await scene.scan(4)
        await scene.exit(procs[1])
        await scene.scan()
        for name in "GH":
            await scene.process(name, 7)
        await scene.scan()
        await scene.concurrent({"ksmd": scene.scan(), "migrationd/1": scene.move(procs[5], 0, 1)})


class ChainMeetsHotplug(Litmus):
    """A node goes offline while ksmd scans; two equal KSM pages that were there have just been freed."""

    name = "litmus.chain_meets_hotplug"

    @override
    async def run(self, scene: Scene) -> None:
        await limit_sharing(scene)
        leaving = [await scene.process(name, 7, nid=1) for name in "ABCD"]
        await scene.scan(3)
        memory = scene.kernel.memory_block(scene.frame(leaving[0], 0).pfn)
        for proc in leaving:
            await scene.exit(proc)
        await scene.concurrent({"hotplug": scene.kernel.offline_pages(memory), "ksmd": scene.scan()})


class ChainMeetsUnmerge(ByNode):
    """Everything is unmerged, and both knobs of sharing are written, while two equal KSM pages are on a chain."""

    name = "litmus.chain_meets_unmerge"

    @override
    async def run(self, scene: Scene) -> None:
        await limit_sharing(scene)
        for name in "ABCD":
            await scene.process(name, 7)
        await scene.scan(3)
        await scene.concurrent({"unmerged/sysfs": scene.set("run", 2), "admin": scene.set("max_page_sharing", 3)})
        await scene.set("merge_across_nodes", 1)


class ChainMeetsFault(Litmus):
    """max_page_sharing is written while a process touches one of two equal KSM pages that ksmd has not found mapped."""

    name = "litmus.chain_meets_fault"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        await limit_sharing(scene)
        procs = [await scene.process(name, 7) for name in "ABCD"]
        await scene.scan(3)
        for proc in procs:
            if proc.start in proc.mm.ptes:
                await into_swap_cache(scene, proc)
        await scene.scan()  # no mapping of them is left: pages_shared is 0
        await scene.concurrent({"admin": scene.set("max_page_sharing", 3), "fault/A": scene.read(procs[0], 0)})
        await scene.set("max_page_sharing", 3)


class ChainMeetsExits(Litmus):
    """ksmd searches for another page in a tree with two equal KSM pages while all that use them exit."""

    name = "litmus.chain_meets_exits"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        await limit_sharing(scene)
        await scene.process("E", 9)
        procs = [await scene.process(name, 7) for name in "ABCD"]
        await scene.scan(3)
        await scene.concurrent({"ksmd": scene.scan(2), "exit": self._exit(scene, procs)})

    async def _exit(self, scene: Scene, procs: list[Proc]) -> None:
        for proc in procs:
            await scene.exit(proc)
