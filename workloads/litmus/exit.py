"""A process exits while another actor uses its memory, or pages that it was the last to map."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import PAGE_SIZE
from workloads.litmus.nodes import ByNode


def look_for_lost_mappings(scene: Scene) -> None:
    """Ask the watcher of reverse mapping now. There was no fork, so no mapping may be lost even for a while."""
    from ksmactors.watch.rmap import ReverseMapping  # listing workloads takes no watcher

    for watcher in scene.machine.watchers:
        if isinstance(watcher, ReverseMapping):
            watcher.at_quiescence()


class ScanMeetsExit(Litmus):
    """The only process reads a page that it has never written, and exits, while ksmd scans it."""

    name = "litmus.scan_meets_exit"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A")
        await scene.concurrent({"ksmd": scene.scan(), "exit/A": self._read_and_exit(scene, a)})

    async def _read_and_exit(self, scene: Scene, proc: Proc) -> None:
        await scene.read(proc, 0)
        await scene.exit(proc)


class UnmergeMeetsExit(Litmus):
    """Everything is unmerged while a process exits."""

    name = "litmus.unmerge_meets_exit"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7, 7)
        await scene.scan(2)
        await scene.concurrent({"unmerged/sysfs": scene.set("run", 2), "exit/A": scene.exit(a)})


class RemovalMeetsExit(Litmus):
    """A process that has unmapped a merged page exits while ksmd passes over that page's rmap_item."""

    name = "litmus.removal_meets_exit"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7, 9)
        await scene.process("B", 7)
        await scene.scan(2)
        await scene.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        await scene.concurrent({"ksmd": scene.batch(1), "exit/A": scene.exit(a)})


class SearchMeetsExit(ByNode):
    """ksmd finds a place for a moved KSM page, and on the way there another one is freed just then."""

    name = "litmus.search_meets_exit"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        c = await scene.process("C", 5, nid=1)
        d = await scene.process("D", 5, nid=1)
        await scene.scan(2)
        await scene.exit(d)
        await scene.scan()
        await scene.migrate(a, 0, 1)
        await scene.concurrent({"ksmd": scene.batch(1), "exit/C": scene.exit(c)})
        look_for_lost_mappings(scene)


class SwapInMeetsExit(Litmus):
    """A process exits that was the first to bring a page back from swap, while another one wants the page, too."""

    name = "litmus.swap_in_meets_exit"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        await scene.swap_out()
        await scene.scan()  # frees the rmap_items, and what they hold
        await scene.read(a, 0)
        await scene.concurrent({"fault/B": scene.read(b, 0), "exit/A": scene.exit(a)})
