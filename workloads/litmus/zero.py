"""ksmd meets a process over a page of zeros, on kernels that have use_zero_pages."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Scene
from ksmactors.mm.const import PAGE_SIZE


class ZeroPageMeetsMunmap(Litmus):
    """ksmd merges a page of zeros with the zero page while the process unmaps it."""

    name = "litmus.zero_page_meets_munmap"

    @override
    async def run(self, scene: Scene) -> None:
        await scene.set("use_zero_pages", 1)
        a = await scene.process("A", 0, 9)
        await scene.scan()
        await scene.concurrent({"ksmd": scene.batch(1), "thread/A": scene.kernel.munmap(a.mm, a.start, PAGE_SIZE)})


class ZeroPageMeetsFork(Litmus):
    """ksmd merges pages of zeros with the zero page while the process forks; then everything is unmerged."""

    name = "litmus.zero_page_meets_fork"

    @override
    async def run(self, scene: Scene) -> None:
        await scene.set("use_zero_pages", 1)
        a = await scene.process("A", 0, 0, 0)
        await scene.scan()
        await scene.batch(1)
        await scene.concurrent({"ksmd": scene.batch(1), "thread/A": scene.fork(a, "B")})
        await scene.store(a, 0, 7)
        await scene.set("run", 2)
