"""The order of a migration: what a reader finds in a frame whose page is on its way back, and has not been copied."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import READ
from tests.helpers.directed import Stage, about_to, perform


async def met_on_its_way_back(s: Stage) -> None:
    """r73: ksmd has read kpfn; the page moves away, and is about to be copied back into the frame that it has left."""
    a = await s.process("A", 7)
    await s.process("B", 7)
    await s.scan(2)
    await s.process("C", 7)
    await s.scan(1)
    node = s.frame(a, 0).stable_node
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(READ, node, "kpfn", inside="stable_tree_walk"))
    await s.until(ksmd, about_to(READ, s.frame(a, 0), "mapping"))
    left = s.frame(a, 0)
    await s.migrate(a, 0, 1)
    back = s.start("migrationd/0", s.kernel.move_pages(a.mm, a.at(0), 0, True))
    await s.until(back, about_to(READ, None, "content", inside="migrate_page_copy"))
    await s.finish(ksmd)
    await s.finish(back)
    assert s.frame(a, 0) is left
    await s.quiesce()
    await s.farewell()


def test_content_before_mapping() -> None:
    """From v6.11 on the new page names the node only when it has the content: no reader comes too early."""
    for kernel in ("v6.12", "v6.18", "v7.3"):
        perform(met_on_its_way_back, kernel=kernel)


def test_mapping_before_content() -> None:
    """Up to v6.10 it names the node first, and ksmd compares what has not been copied yet."""
    with pytest.raises(Finding) as found:
        perform(met_on_its_way_back, kernel="v6.12", without=("copy-before-mapping",))
    assert found.value.signature == "happens_before/data_race@migrate_page_copy+stable_tree_walk"
