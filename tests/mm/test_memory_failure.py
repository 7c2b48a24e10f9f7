"""Memory that fails: what becomes of the page, of those who map it, and of the frame."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.mm.const import EBUSY, EFAULT, EHWPOISON, MADV_HWPOISON, PAGE_SIZE
from ksmactors.mm.frame import Frame
from tests.helpers import failing
from tests.helpers.directed import Proc, Stage, perform

KERNELS = ("series", "v3.9", "v6.1", "v6.12")


def hwpoison(s: Stage, proc: Proc, index: int) -> object:
    """madvise(MADV_HWPOISON) of a page."""
    return s.kernel.madvise(proc.mm, proc.at(index), PAGE_SIZE, MADV_HWPOISON)


def frames_of(s: Stage) -> list[Frame]:
    """All frames that a process maps."""
    return [pte.frame for mm in s.kernel.address_spaces for pte in mm.ptes.values()]


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_ordinary_page(kernel: str) -> None:
    """Its entries name the frame, a child's too; a fault is -EHWPOISON, as a look-up for I/O -EFAULT; a munmap makes
    room for a new page. The frame is never given out again, and one reference stays."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, mergeable=False)
        child = await s.fork(a, "C")
        page = s.frame(a, 0)
        assert await s.memory_failure(page) == 0
        assert (page.mapcount, page.refcount, page.kept, page.lru) == (0, 1, 1, False)
        assert a.mm.hwpoison_ptes == child.mm.hwpoison_ptes == {a.at(0): page}
        for proc in (a, child):
            assert await s.read(proc, 0) == await s.store(proc, 0, 5) == -EHWPOISON
            assert await s.kernel.get_user_pages(proc.mm, proc.at(0), False) == -EFAULT
        grandchild = await s.fork(child, "D")
        assert await s.read(grandchild, 0) == -EHWPOISON
        await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        assert a.mm.hwpoison_ptes == {}
        moved = await s.kernel.mremap(child.mm, child.start, 2 * PAGE_SIZE)
        assert child.mm.hwpoison_ptes == {moved: page}
        await s.process("E", *range(10, 40))
        assert page not in frames_of(s)
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)


@pytest.mark.parametrize(("kernel", "known"), [("series", 0), ("v3.9", 0), ("v6.1", -EHWPOISON)])
def test_a_failure_that_is_known(kernel: str, known: int) -> None:
    """A second failure of a frame does nothing; v6.1 says so."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        page = s.frame(a, 0)
        await s.memory_failure(page)
        assert await s.memory_failure(page) == known
        assert page.refcount == 1
        await s.farewell()

    perform(play, kernel=kernel)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_free_frame(kernel: str) -> None:
    """It is passed over when it would be given out; a broken allocator is found."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        page = s.frame(a, 0)
        await s.exit(a)
        await s.scan(1)
        assert page.refcount == 0
        assert await s.memory_failure(page) == 0
        await s.process("B", 5)
        assert page not in frames_of(s)
        await s.farewell()

    perform(play, kernel=kernel)


def test_a_frame_that_is_given_out() -> None:
    """An allocator that does not look at the flag is found, when a process maps the frame."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        page = s.frame(a, 0)
        await s.kernel.memory_failure(page.pfn)
        page.node.free_list.append(page)
        await s.process("B", 5)

    with pytest.raises(Finding, match="the memory of pfn 1 has failed, and B comes to map it"):
        perform(play, layer=failing.GivesPoisonedFramesOut)


def test_a_failure_that_is_not_handled() -> None:
    """Success is reported for a page that is still mapped: found."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        await s.memory_failure(s.frame(a, 0))

    with pytest.raises(Finding) as found:
        perform(play, layer=failing.ReportsTooEarly)
    assert found.value.signature == "memory_failure/still_mapped@memory_failure"


@pytest.mark.parametrize(
    ("kernel", "result", "mapped"), [("v3.9", -EBUSY, 2), ("v6.1", -EBUSY, 2), ("v6.12", 0, 0), ("series", 0, 0)]
)
def test_a_ksm_page(kernel: str, result: int, mapped: int) -> None:
    """It stays mapped up to v6.3. Its node stays in the tree on all kernels, but not on series."""

    async def play(s: Stage) -> None:
        await s.process("A", 7)
        b = await s.process("B", 7)
        await s.scan(2)
        page = s.frame(b, 0)
        assert await s.memory_failure(page) == result
        assert page.mapcount == mapped
        assert len(list(s.kernel.nodes_of(s.kernel.root_stable_tree[0]))) == (kernel != "series")
        content = await s.read(b, 0)
        assert content is s.kernel.contents.token(7) if mapped else content == -EHWPOISON
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)


def test_a_migration_of_a_ksm_page_that_was_refused() -> None:
    """It fails, since memory_failure has kept its reference. But it has unmapped the page as one whose memory has
    failed: those who mapped it get SIGBUS now."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        b = await s.process("B", 7)
        await s.scan(2)
        assert await s.memory_failure(s.frame(b, 0)) == -EBUSY
        await s.move(a, 0, 1)
        assert await s.read(a, 0) == await s.read(b, 0) == -EHWPOISON
        await s.farewell()

    perform(play, kernel="v6.1")


@pytest.mark.parametrize("kernel", KERNELS)
def test_pages_in_the_swap_cache(kernel: str) -> None:
    """A clean one leaves the cache, and is read from the device. A dirty one stays, so that a fault finds it there."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 1, 2, mergeable=False)
        child = await s.fork(a, "C")
        await s.swap_out()
        await s.swap_out()
        assert sorted(a.mm.swap_ptes) == [a.at(0), a.at(1)]
        clean = await s.read(a, 0)
        await s.read(a, 1)
        dirty = s.frame(a, 1)
        dirty.dirty = True
        assert await s.memory_failure(s.frame(a, 0)) == await s.memory_failure(dirty) == 0
        assert sorted(a.mm.swap_ptes) == [a.at(0), a.at(1)]
        assert await s.read(a, 0) is await s.read(child, 0) is clean
        assert await s.read(a, 1) == await s.read(child, 1) == -EHWPOISON
        await s.exit(a)
        await s.exit(child)

    perform(play, kernel=kernel)


def test_madvise() -> None:
    """v3.9 ignores the result, and kills nobody. v6.12 kills the caller, and nobody else."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        b = await s.process("B", 7)
        await s.scan(2)
        killed = [a.mm] if s.kernel.kernel_name == "v6.12" else []
        assert await hwpoison(s, a, 0) == (-EBUSY if s.kernel.kernel_name == "v6.1" else 0)  # type: ignore[misc]
        assert s.kernel.sigbus == killed
        assert await hwpoison(s, b, 1) == -EFAULT  # type: ignore[misc]

    for kernel in ("v3.9", "v6.1", "v6.12"):
        perform(play, kernel=kernel)
