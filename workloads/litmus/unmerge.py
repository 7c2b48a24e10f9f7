"""run=2 or the switch of merge_across_nodes beside a process whose KSM pages cannot be seen just then."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.parameters import Int
from workloads.litmus.nodes import ByNode


async def into_swap_cache(scene: Scene, proc: Proc) -> None:
    """The first page of a process is unmapped and in the swap cache, its write to the device over."""
    page = scene.frame(proc, 0)
    await scene.to_swap_cache(proc, 0)
    await scene.kernel.wait_on_page_writeback(page)


class UnmergeMeetsReclaim(Litmus):
    """Everything is unmerged, and merge_across_nodes switched, while the KSM page is on its way to swap."""

    name = "litmus.unmerge_meets_reclaim"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7, nid=1)
        await scene.process("B", 7, nid=1)
        await scene.scan(2)
        await scene.concurrent({"unmerged/sysfs": self._switch(scene), "kswapd/0": scene.to_swap_cache(a, 0)})

    async def _switch(self, scene: Scene) -> None:
        await scene.set("run", 2)
        await scene.set("merge_across_nodes", 1 - self.merge_across_nodes)


class UnmergeMeetsFork(Litmus):
    """Everything is unmerged while a process forks."""

    name = "litmus.unmerge_meets_fork"

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        await scene.concurrent({"unmerged/sysfs": scene.set("run", 2), "fork/B": scene.fork(b, "C")})


class UnmergeMeetsFault(Litmus):
    """Everything is unmerged while a process touches a KSM page that is in the swap cache."""

    name = "litmus.unmerge_meets_fault"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        await scene.scan(2)
        await into_swap_cache(scene, a)
        await scene.concurrent({"unmerged/sysfs": scene.set("run", 2), "fault/A": scene.read(a, 0)})


class SwitchMeetsFault(Litmus):
    """merge_across_nodes is switched while a process touches a KSM page that ksmd has not found mapped."""

    name = "litmus.switch_meets_fault"

    home = Int(0, "node of the page that is touched; another KSM page is on node 1", high=1)

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        touched = [await scene.process(name, 7, nid=self.home) for name in ("A", "B")]
        other = [await scene.process(name, 8, nid=1) for name in ("C", "D")]
        await scene.scan(2)
        await into_swap_cache(scene, touched[0])
        await into_swap_cache(scene, other[0])
        await scene.scan()  # no mapping of them is left: pages_shared is 0
        switch = scene.set("merge_across_nodes", 1 - self.merge_across_nodes)
        await scene.concurrent({"unmerged/sysfs": switch, "fault/A": scene.read(touched[0], 0)})


class SpoiltPageMeetsFault(Litmus):
    """A process touches a page that could not be read from swap, and that has been another's."""

    name = "litmus.spoilt_page_meets_fault"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        await scene.swap_out()
        await scene.read(a, 0)  # the page is A's own now, and in the swap cache for B
        self._spoil(scene, a)
        came = await scene.concurrent({"thread/A": scene.store(a, 0, 9), "fault/B": scene.read(b, 0)})
        if came["thread/A"]:  # it had no memory, and writes now: what was spoilt by hand is not to be read
            await scene.store(a, 0, 9)

    def _spoil(self, scene: Scene, proc: Proc) -> None:
        """As if the read of the page had failed. By hand: it is not known how a page that was mapped before gets
        there."""
        page = scene.frame(proc, 0)
        assert page.swap is not None, "B's entry names it"
        page.swap.uptodate = False
        page.content = scene.kernel.contents.zero


class UnmergeMeetsUnstableMigration(ByNode):
    """Everything is unmerged in the middle of a scan, while a page that has gone into the unstable tree moves away."""

    name = "litmus.unmerge_meets_unstable_migration"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7, 8)
        await scene.scan()
        await scene.batch(1)
        await scene.concurrent({"unmerged/sysfs": scene.set("run", 2), "migrationd/1": scene.move(a, 0, 1)})
