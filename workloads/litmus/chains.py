"""Equal KSM pages side by side in a tree, on kernels that have max_page_sharing."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Scene
from workloads.litmus.nodes import ByNode


async def limit_sharing(scene: Scene) -> None:
    """A KSM page has two mappings at most, a look at a chain always prunes it, and no page is left out of a scan."""
    for knob, value in ("max_page_sharing", 2), ("stable_node_chains_prune_millisecs", 0), ("smart_scan", 0):
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
