"""The sequential model, and the watcher that holds the emulator against it."""

from __future__ import annotations

import pytest

from ksmactors.campaign.api import stress
from ksmactors.errors import Finding
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.content import InternedContents
from ksmactors.mm.frame import Frame
from ksmactors.watch.sharing import SharingModel
from tests.helpers.directed import Play, Stage, perform

A, B, C = (1, 0x1000), (2, 0x1000), (3, 0x1000)


@pytest.fixture
def model() -> SharingModel:
    """Two pages with equal contents, and a third that differs."""
    contents = InternedContents()
    model = SharingModel(contents.zero)
    model.write(A, contents.token(7))
    model.write(B, contents.token(7))
    model.write(C, contents.token(8))
    return model


def test_equal_pages_may_be_merged(model: SharingModel) -> None:
    """Pages that were written apart are of two versions; equal ones may be made one, others not."""
    assert not model.one_version((A, B))
    assert model.merge(A, [B])
    assert model.one_version((A, B))
    assert not model.merge(C, [A, B])
    assert not model.one_version((A, C))


def test_what_is_one_with_a_merged_page_is_merged(model: SharingModel) -> None:
    """A child's page goes with the parent's when that is merged, and with whatever equal was merged before."""
    child, other, late = (4, 0x1000), (5, 0x1000), (6, 0x1000)
    model.fork(child, A)
    model.write(other, model.content(A))
    model.write(late, model.content(A))
    model.merge(B, [A])
    model.merge(other, [late])

    assert model.one_version((A, B, child, other, late))


def test_fork_keeps_the_version_and_a_write_ends_it(model: SharingModel) -> None:
    """A child's page is one with the parent's until either writes, be it the same content."""
    child = (4, 0x1000)
    model.fork(child, C)
    assert model.one_version((C, child))

    model.write(child, model.content(C))
    assert not model.one_version((C, child))


def test_a_page_moves_with_its_version(model: SharingModel) -> None:
    """mremap changes an address and nothing else; what is forgotten reads as zeros."""
    moved = (1, 0x9000)
    before = model.content(A)
    model.move(A, moved)

    assert model.content(moved) is before
    assert not model.has_content(A)
    assert model.one_version((A, (9, 0)))


class WritesThrough(Ksm):
    """A write fault makes the entry writable, whoever else maps the page."""

    async def do_wp_page(self, mm: AddressSpace, vma: Vma, address: int, entry: Pte) -> int:
        await self.set_pte(mm, address, Pte(entry.frame, write=True, dirty=True))
        await mm.page_table_lock.unlock()
        return 0


class MapsAnother(Ksm):
    """Maps whatever KSM page it comes across first."""

    async def map_kpage(self, mm: AddressSpace, kpage: Frame) -> Pte:
        others = [frame for frame in self.nodes[0].frames if frame.is_ksm and frame.mapcount]
        return await super().map_kpage(mm, others[0] if others else kpage)


async def merged_and_written(s: Stage) -> None:
    """Two processes share a KSM page; one writes."""
    a = await s.process("A", 7)
    await s.process("B", 7)
    await s.scan(2)
    await s.write(a, 0, 8)
    await s.quiesce()
    await s.farewell()


async def a_third_joins(s: Stage) -> None:
    """There are two KSM pages, and a process whose page is equal to the second."""
    for name, token in (("A", 7), ("B", 7), ("C", 8), ("D", 8)):
        await s.process(name, token)
    await s.scan(2)
    await s.process("E", 8)
    await s.scan(2)
    await s.quiesce()
    await s.farewell()


async def merged_swapped_and_back(s: Stage) -> None:
    """What KSM has merged is swapped out, read back as an ordinary page, and mapped by all again."""
    s.start_swap()
    a = await s.process("A", 7)
    b = await s.fork(a, "B")
    await s.process("C", 7)
    await s.scan(3)
    await s.swap_out()
    for proc in (a, b):
        await s.read(proc, 0)
    assert await s.kernel.swapoff() == 0
    await s.quiesce()
    await s.farewell()


def test_a_write_through_a_shared_frame() -> None:
    """A write to a frame that somebody else maps is no sequential run's."""
    with pytest.raises(Finding) as found:
        perform(merged_and_written, layer=WritesThrough, watchers=("refinement",))

    assert found.value.signature == "refinement/shared_write@user_write"


def test_a_merge_with_another_page() -> None:
    """A page that differs from what it has come to share is not merged, but lost."""
    with pytest.raises(Finding) as found:
        perform(a_third_joins, layer=MapsAnother, watchers=("refinement",))

    assert found.value.signature == "refinement/unlawful_merge@replace_page_at"
    assert "differs from what it wrote" in found.value.message


@pytest.mark.parametrize("play", [merged_and_written, a_third_joins, merged_swapped_and_back])
def test_the_right_kernel_refines_the_model(play: Play) -> None:
    """Sharing, breaking, swapping: all as the model has it."""
    perform(play, watchers=("refinement",))


@pytest.mark.slow
def test_a_page_that_was_upgraded_in_place_is_merged() -> None:
    """The page that becomes a KSM page where it is counts as merged, too: a long schedule of swapping finds nothing."""
    tally = stress("swap_pressure", seeds="58899:58900", watch="refinement")

    assert tally.schedules == 1
    assert tally.found == {}
