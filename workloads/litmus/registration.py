"""Address spaces come to ksmd's list, and leave it, while the kernel thread itself runs, sleeps and is woken."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import MADV_MERGEABLE, PAGE_SIZE


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
