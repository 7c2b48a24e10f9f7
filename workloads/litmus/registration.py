"""Address spaces come to ksmd's list, and leave it, while the kernel thread itself runs, sleeps and is woken."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import Actor
from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import ERESTARTSYS, MADV_MERGEABLE, PAGE_SIZE

REGIONS = 3
"""The mappings of a process beside its first one: each is a place to be interrupted at."""

SIGNALS = 4
"""How often a process is interrupted at most."""


class RegistrationMeetsExit(Litmus):
    """A process registers while the only one on the list exits, so that ksmd goes to sleep."""

    name = "litmus.registration_meets_exit"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        await scene.set("sleep_millisecs", 0)
        a = await scene.process("A")
        b = await scene.process("B", 7, mergeable=False)
        scene.start_ksmd()
        await scene.concurrent({"exit/A": scene.exit(a), "thread/B": self._register(scene, b)})

    async def _register(self, scene: Scene, proc: Proc) -> None:
        await scene.kernel.madvise(proc.mm, proc.start, PAGE_SIZE, MADV_MERGEABLE)


class MergeAnyMeetsSignal(Litmus):
    """A process takes back that all its memory is merged, sets it again, and forks; meanwhile it may get signals.

    Kernels before v6.4 do not know the setting.
    """

    name = "litmus.merge_any_meets_signal"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("B", 7)
        a = await scene.process("A", 7, mergeable=False)
        for _ in range(REGIONS):
            region = Proc(a.mm, await scene.kernel.mmap(a.mm, 1, 0))
            await scene.write(region, 0, 7)
        await scene.kernel.prctl_set_memory_merge(a.mm, True)
        await scene.scan(2)
        threads: list[Actor] = []
        await scene.concurrent({"thread/A": self._switch(scene, a, threads), "signal": self._signal(scene, a, threads)})

    async def _switch(self, scene: Scene, a: Proc, threads: list[Actor]) -> None:
        turn = scene.conductor.turn
        threads.append(turn)
        while await scene.kernel.prctl_set_memory_merge(a.mm, False) == -ERESTARTSYS:
            turn.signal_pending = False
        await scene.scan()
        await scene.kernel.prctl_set_memory_merge(a.mm, True)
        await scene.kernel.fork(a.mm, "E")

    async def _signal(self, scene: Scene, a: Proc, threads: list[Actor]) -> None:
        for _ in range(SIGNALS):
            await scene.read(a, 0)
            for thread in threads:
                thread.signal_pending = True
