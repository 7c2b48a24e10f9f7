"""Pages that have left the node of the tree that they are in, while merge_across_nodes is 0."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.parameters import Int


class ByNode(Litmus):
    """Base: merge_across_nodes is 0 unless one says otherwise."""

    merge_across_nodes = Int(0, "knob merge_across_nodes at the start", high=1)


class MovedPageMeetsExit(ByNode):
    """A KSM page moves to another node and is freed by its last user, while ksmd is on its way to it."""

    name = "litmus.moved_page_meets_exit"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        await scene.exit(b)
        compaction = scene.kernel.migrate_frame(scene.frame(a, 0), 1)
        await scene.concurrent({"ksmd": scene.scan(), "migrationd/1": compaction, "exit/A": scene.exit(a)})


class MovedPageIsMet(ByNode):
    """A KSM page moves to another node while ksmd comes first to an equal page, then to those that map it."""

    name = "litmus.moved_page_is_met"

    @override
    async def run(self, scene: Scene) -> None:
        c = await scene.process("C", 3)
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        await scene.scan(2)
        await scene.write(c, 0, 7)
        await scene.concurrent({"ksmd": scene.scan(), "migrationd/1": scene.move(a, 0, 1)})


class MovedPageFindsEqual(ByNode):
    """A KSM page moves to a node where an ordinary page is equal to it, while ksmd scans."""

    name = "litmus.moved_page_finds_equal"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        await scene.process("C", 7, nid=1)
        await scene.scan(3)
        await scene.concurrent({"ksmd": scene.scan(), "migrationd/1": scene.move(a, 0, 1)})


class CollisionMeetsExit(ByNode):
    """ksmd finds a place for a moved KSM page, where an equal one is freed just then."""

    name = "litmus.collision_meets_exit"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        c = await scene.process("C", 7, nid=1)
        d = await scene.process("D", 7, nid=1)
        await scene.scan(2)
        await scene.exit(d)
        await scene.scan()
        await scene.migrate(a, 0, 1)
        await scene.concurrent({"ksmd": scene.batch(1), "exit/C": scene.exit(c)})


class MovedPageInSwap(ByNode):
    """A KSM page that has moved to another node goes to swap, while ksmd comes to two equal pages of the old node."""

    name = "litmus.moved_page_in_swap"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        others = [await scene.process("C", 3), await scene.process("D", 4)]
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        await scene.scan(2)
        await scene.migrate(a, 0, 1)
        for proc in others:
            await scene.write(proc, 0, 7)
        await scene.concurrent({"ksmd": scene.scan(), "kswapd/0": scene.to_swap_cache(a, 0)})


async def exile(scene: Scene) -> Proc:
    """A stable node gets on migrate_nodes by a collision, and its items are about to leave it.

    A, B and A's child D map a KSM page that has moved; ksmd has come to C's equal page, and has driven its node out of
    the tree. A and B have written their pages since. ksmd comes to A next, then to B, then to D, which is returned.
    """
    c = await scene.process("C", 3)
    a = await scene.process("A", 7)
    b = await scene.process("B", 7)
    await scene.scan(2)
    d = await scene.fork(a, "D")
    await scene.migrate(a, 0, 1)
    await scene.write(c, 0, 7)
    await scene.batch(1)
    await scene.write(a, 0, 4)
    await scene.write(b, 0, 5)
    return d


class ExiledNodeMeetsExit(ByNode):
    """The last process exits that maps the page of a node on migrate_nodes, just before ksmd comes to it."""

    name = "litmus.exiled_node_meets_exit"

    @override
    async def run(self, scene: Scene) -> None:
        d = await exile(scene)
        await scene.concurrent({"ksmd": scene.scan(), "exit/D": scene.exit(d)})


class ExiledNodeMeetsSwitch(ByNode):
    """merge_across_nodes is switched while a node without items is on migrate_nodes, and its page is freed."""

    name = "litmus.exiled_node_meets_switch"

    @override
    async def run(self, scene: Scene) -> None:
        d = await exile(scene)
        await scene.batch(2)
        await scene.concurrent({"unmerged/sysfs": scene.set("merge_across_nodes", 1), "exit/D": scene.exit(d)})


class ExiledNodeMeetsHotplug(ByNode):
    """The memory of a freed page goes offline whose node is on migrate_nodes, while ksmd is about to start a scan."""

    name = "litmus.exiled_node_meets_hotplug"

    @override
    async def run(self, scene: Scene) -> None:
        d = await exile(scene)
        gone = scene.kernel.memory_block(scene.frame(d, 0).pfn)
        await scene.batch(2)
        await scene.exit(d)
        await scene.scan()
        await scene.concurrent({"ksmd": scene.scan(), "hotplug": scene.kernel.offline_pages(gone)})
