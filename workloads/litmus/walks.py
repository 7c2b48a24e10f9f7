"""A walk down a tree meets somebody who changes what it compares: the frame behind an entry, or the page in hand."""

from __future__ import annotations

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.frame import Frame


async def shared(scene: Scene, token: int, *names: str) -> list[Proc]:
    """New processes that map a new KSM page."""
    procs = [await scene.process(name, token) for name in names]
    await scene.scan(2)
    return procs


class InsertionMeetsReuse(Litmus):
    """ksmd makes a KSM page and looks for its place, while the frame of another one is freed and used again.

    The stable tree has a page of 5 at its root and one of 6 to the right of it. ksmd comes to the second of two pages
    of 7. Nobody maps the page of 5 any more; G has isolated it, for a migration, say, and gives it back. Its frame is
    the first to be used again, for a page of 9 of G's own.
    """

    name = "litmus.insertion_meets_reuse"
    least_nodes = 1

    async def run(self, scene: Scene) -> None:
        a, b = await shared(scene, 5, "A", "B")
        await shared(scene, 6, "C", "D")
        await scene.exit(b)
        for name in ("E", "F"):
            await scene.process(name, 7)
        await scene.scan()
        await scene.batch(4)
        g = await scene.process("G", mergeable=False)
        page = scene.frame(a, 0)
        await page.get()
        await scene.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        await scene.meet({"ksmd": scene.batch(1), "thread/G": self._reuse(scene, page, g)})

    async def _reuse(self, scene: Scene, page: Frame, proc: Proc) -> None:
        await page.put()
        await scene.store(proc, 0, 9)


class SearchMeetsWrite(Litmus):
    """A process writes the page that ksmd looks for in the stable tree, while ksmd is on its way down.

    The tree has pages of 3, 5 and 7. When ksmd last came to E's page it was 4, as F's is; it is 8 when the search
    begins, and 4 again before it has ended.
    """

    name = "litmus.search_meets_write"
    least_nodes = 1

    async def run(self, scene: Scene) -> None:
        for token, names in ((5, "AB"), (3, "CD"), (7, "GH")):
            await shared(scene, token, *names)
        await scene.process("F", 4)
        e = await scene.process("E", 4)
        await scene.scan()
        await scene.batch(7)
        await scene.store(e, 0, 8)
        await scene.meet({"ksmd": scene.batch(1), "thread/E": scene.store(e, 0, 4)})
