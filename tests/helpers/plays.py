"""Programs in which the promises of the protocol matter: what the watchers are tested by, see `broken`."""

from __future__ import annotations

from ksmactors.interleave.actor import ACQUIRE, READ, WRITE
from ksmactors.mm.const import MADV_DONTNEED, PAGE_SIZE
from ksmactors.mm.frame import Frame
from tests.helpers.directed import Proc, Stage, about_to


async def life(s: Stage) -> None:
    """Two processes on two nodes: merged, written, migrated to where an equal page is and to where none is, forked,
    unmapped, ended; nobody moves at the same time."""
    await s.set("merge_across_nodes", 0)
    a = await s.process("A", 1, 1, 2, 3, 6)
    b = await s.process("B", 4, 1, 2, 3, 6)
    c = await s.process("C", 2, 2, 5, 5, nid=1)
    await s.scan(3)
    await s.set("run", 1)
    await s.migrate(a, 2, 1)  # an equal page is there
    await s.migrate(b, 3, 1)  # none is there
    await s.batch(2)
    await s.write(b, 1, 9)
    await s.write(c, 0, 9)
    await s.scan(2)
    d = await s.fork(a, "D")
    await s.write(d, 0, 1)
    assert await s.read(a, 0) is s.kernel.contents.token(1)
    await s.kernel.munmap(a.mm, a.at(1), 2 * PAGE_SIZE)
    await s.kernel.mmput(b.mm)
    await s.quiesce()
    await s.farewell()


async def written_before_the_comparison(s: Stage) -> None:
    """A page is written after ksmd has found it equal, and before it is write-protected."""
    await s.process("A", 1, 1)
    b = await s.process("B", 2)
    await s.scan(3)
    await s.write(b, 0, 1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(inside="try_to_merge_with_ksm_page"))
    await s.write(b, 0, 3)
    await s.finish(ksmd)
    await s.read(b, 0)


async def last_mapping_faulted(s: Stage) -> None:
    """The last process that maps a KSM page has a write fault, and does not write yet."""
    a = await s.process("A", 1)
    b = await s.process("B", 1)
    await s.scan(3)
    await s.kernel.mmput(b.mm)
    assert await s.kernel.fault(a.mm, a.at(0), True) == 0
    await s.set("run", 1)


async def forked_while_merging(s: Stage, *, verdict: bool = True) -> None:
    """The second half of a merge fails, and the first process has forked since the first half."""
    a = await s.process("A", 1)
    b = await s.process("B", 1)
    await s.scan(1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
    await s.until(ksmd, about_to(ACQUIRE, a.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
    await s.fork(b, "C")
    await s.write(a, 0, 2)
    await s.finish(ksmd)
    if verdict:
        await s.quiesce()


async def forked_while_merging_beside_an_equal(s: Stage) -> None:
    """The same, and another process writes what was in the page."""
    d = await s.process("D", 9)
    await forked_while_merging(s, verdict=False)
    await s.write(d, 0, 1)
    await s.quiesce()


async def moved_and_touched_anew(s: Stage) -> None:
    """A process moves a region, gives its page back and touches it again."""
    a = await s.process("A", 1)
    moved = Proc(a.mm, await s.kernel.mremap(a.mm, a.start, PAGE_SIZE))
    await s.kernel.madvise(a.mm, moved.start, PAGE_SIZE, MADV_DONTNEED)
    await s.write(moved, 0, 2)
    await s.quiesce()


async def twins(s: Stage) -> None:
    """Two processes with one equal page."""
    await s.process("A", 1)
    await s.process("B", 1)
    await s.quiesce()


async def twins_on_two_nodes(s: Stage) -> None:
    """With merge_across_nodes=0, equal pages on two nodes."""
    await s.set("merge_across_nodes", 0)
    await s.process("A", 1)
    await s.process("B", 1, nid=1)
    await s.scan(3)


async def twins_on_node_1(s: Stage) -> None:
    """With merge_across_nodes=0, equal pages on node 1."""
    await s.set("merge_across_nodes", 0)
    for name in ("A", "B"):
        await s.process(name, 1, nid=1)
    await s.scan(3)


async def a_third_on_another_node(s: Stage) -> None:
    """With merge_across_nodes=0, two equal pages on one node, and one on another."""
    await s.set("merge_across_nodes", 0)
    for name, nid in (("A", 0), ("B", 0), ("C", 1)):
        await s.process(name, 1, nid=nid)
    await s.scan(3)


async def unmerged(s: Stage) -> None:
    """Two pages are merged, and unmerged by run=2."""
    await s.set("run", 1)
    await s.process("A", 1, 1)
    await s.scan(2)
    await s.set("run", 2)


async def unmerged_while_pinned(s: Stage) -> None:
    """Two pages are merged, and unmerged by run=2 while somebody reads the page."""
    await s.set("run", 1)
    a = await s.process("A", 1, 1)
    await s.scan(2)
    page = s.frame(a, 0)
    await page.get()
    await s.set("run", 2)
    await page.put()


async def switched_with_a_listed_node(s: Stage) -> None:
    """S6d: the knob is turned while a node that has lost all its items, but not its page, is on migrate_nodes."""
    await s.set("merge_across_nodes", 0)
    c = await s.process("C", 9)
    a = await s.process("A", 1, 1)
    await s.scan(2)
    page = s.frame(a, 0)
    await s.migrate(a, 0, 1)
    page = s.frame(a, 0)
    await s.write(c, 0, 1)
    await s.batch(1)
    await page.get()
    await s.write(a, 0, 2)
    await s.write(a, 1, 3)
    await s.batch(2)
    assert s.kernel.ksm_pages_shared == 0
    assert len(s.kernel.migrate_nodes) == 1
    await s.set("merge_across_nodes", 1)
    await page.put()


async def moved_to_an_equal(s: Stage) -> None:
    """With merge_across_nodes=0, a KSM page is migrated to where an equal one is."""
    await s.set("merge_across_nodes", 0)
    a = await s.process("A", 1, 1)
    await s.process("B", 1, 1, nid=1)
    await s.scan(2)
    await s.migrate(a, 0, 1)
    await s.quiesce()


async def memory_comes_back(s: Stage) -> None:
    """A node's memory goes offline and comes back."""
    await s.process("B", 3, nid=1)
    pfns = s.kernel.memory_block(s.kernel.frames_per_node)
    assert await s.kernel.offline_pages(pfns) == 0
    assert await s.kernel.online_pages(pfns) == 0


async def switched_while_a_child_maps(s: Stage) -> None:
    """Both processes write; a child that ksmd has not come to still maps the KSM page: pages_shared is 0, the node is
    there, and the knob is turned."""
    a = await s.process("A", 1)
    b = await s.process("B", 1)
    await s.scan(2)
    await s.fork(a, "C")
    await s.write(a, 0, 2)
    await s.write(b, 0, 3)
    await s.batch(2)
    assert s.kernel.ksm_pages_shared == 0
    await s.set("merge_across_nodes", 0)


async def last_mapper_exits_before_its_turn(s: Stage) -> None:
    """S6c: a misplaced node is put on migrate_nodes by a search, loses its items, and then its page."""
    await s.set("merge_across_nodes", 0)
    c = await s.process("C", 9)
    a = await s.process("A", 1)
    b = await s.process("B", 1)
    await s.scan(2)
    d = await s.fork(a, "D")
    await s.migrate(a, 0, 1)
    await s.write(c, 0, 1)
    await s.batch(1)
    assert len(s.kernel.migrate_nodes) == 1
    await s.write(a, 0, 2)
    await s.write(b, 0, 3)
    await s.batch(2)
    await s.kernel.mmput(d.mm)
    assert len(s.kernel.migrate_nodes) == 1
    await s.scan(2)


async def memory_goes_offline(s: Stage) -> None:
    """With merge_across_nodes=0 both trees have nodes whose pages are gone; the second node's memory goes offline."""
    await s.set("merge_across_nodes", 0)
    await s.process("A", 1, 1, 2, 2)
    b = await s.process("B", 3, 3, 4, 4, nid=1)
    await s.scan(2)
    await s.kernel.munmap(b.mm, b.start, 4 * PAGE_SIZE)
    assert await s.kernel.offline_pages(s.kernel.memory_block(s.kernel.frames_per_node)) == 0


async def passed_over_during_a_migration(s: Stage) -> None:
    """S3b: ksmd passes over a mapping that is a migration entry at the moment, and takes its item off the node."""
    a = await s.process("A", 1, 2)
    await s.process("B", 1)
    await s.scan(2)
    migration = s.start("migration", s.migrate(a, 0, 1))
    await s.until(migration, about_to(WRITE, Frame, "content"))
    ksmd = s.start("ksmd", s.scan())
    await s.go(ksmd)
    await s.finish(migration)
    await s.finish(ksmd)


async def node_freed_during_a_search(s: Stage) -> None:
    """S5a: a KSM page is migrated after ksmd has read kpfn and before it looks at the page's mapping."""
    a = await s.process("A", 1)
    await s.process("B", 1)
    await s.scan(2)
    await s.process("C", 1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(obj=Frame, field="mapping", inside="get_ksm_page"))
    await s.migrate(a, 0, 1)
    await s.finish(ksmd)


async def moved_page_in_the_unstable_tree(s: Stage) -> None:
    """With merge_across_nodes=0 a page is migrated after it went into the unstable tree; others search past it."""
    await s.set("merge_across_nodes", 0)
    a = await s.process("A", 5, 3, 7)
    await s.process("B", 3)
    await s.scan(1)
    await s.batch(1)
    await s.migrate(a, 0, 1)
    await s.scan(2)


async def moved_page_is_met_by_one_that_is_replaced(s: Stage) -> None:
    """With merge_across_nodes=0 a page is migrated after it went into the unstable tree; ksmd is about to look for one
    that is equal to it when a fault puts another page there: what it has in hand still is equal."""
    await s.set("merge_across_nodes", 0)
    a = await s.process("A", 5)
    b = await s.process("B", 5)
    await s.fork(b, "C")  # the parent's page is not its own, so a write copies it
    await s.scan(1)
    await s.batch(1)
    await s.migrate(a, 0, 1)
    ksmd = s.start("ksmd", s.batch(1))
    await s.until(ksmd, about_to(inside="checksum_changed"))
    await s.write(b, 0, 6)
    await s.finish(ksmd)


async def registered_while_ksmd_sleeps(s: Stage) -> None:
    """ksmd finds nobody registered and goes to sleep; then a process registers."""
    await s.set("run", 1)
    s.start_ksmd()
    await s.conductor.sleep(1_000_000)
    await s.process("A", 1)
    await s.conductor.sleep(1_000_000)
    for watcher in s.machine.watchers:
        watcher.at_rest()
    await s.end_ksmd()


async def guest_reads_what_is_merged(s: Stage) -> None:
    """A guest reads a page between its write protection and its replacement by a KSM page, and once more afterwards."""
    await s.process("B", 7, 7)
    await s.scan(2)
    a = await s.process("A", 7)
    ksmd = s.start("ksmd", s.scan(1))
    await s.until(ksmd, about_to(READ, Frame, "content", inside="try_to_merge_one_page"))
    await s.guest_load(a, 0)
    await s.finish(ksmd)
    await s.guest_load(a, 0)
    await s.quiesce()


async def memory_of_a_ksm_page_fails(s: Stage) -> None:
    """ksmd comes to a page that is equal to a KSM page whose memory has failed."""
    c = await s.process("C", 1)
    await s.process("A", 7)
    b = await s.process("B", 7)
    await s.scan(2)
    await s.memory_failure(s.frame(b, 0))
    await s.write(c, 0, 7)
    await s.scan(2)
    await s.quiesce()
