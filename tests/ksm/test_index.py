"""The index by content is an emulator's shortcut: with and without it everything is the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmactors.ksm.index import ContentTree, InsertPosition
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.const import MADV_DONTNEED, PAGE_SIZE
from tests.helpers.directed import Stage, perform
from tests.helpers.player import Player, Step, programs, same_in_ci


class Walks(Ksm):
    """Never uses an index."""

    @property
    def undisturbed(self) -> bool:
        return False


def dump(s: Stage) -> list[Any]:
    """Shapes of all trees, the node list, the counters, and everything that happened, without when."""
    kernel = s.kernel

    def shape(node: Any) -> Any:
        return None if node is None else (node.number, node.rb_red, shape(node.rb_left), shape(node.rb_right))

    hlists = [
        (node.number, node.kpfn, node.nid, [item.number for item in node.hlist()])
        for node in [*kernel.migrate_nodes, *(node for root in kernel.root_stable_tree for node in root)]
    ]
    happened = [(record[0], *record[3:]) for record in s.machine.trace.recent()]
    trees = [shape(root.root) for root in (*kernel.root_stable_tree, *kernel.root_unstable_tree)]
    return [trees, hlists, s.counters, kernel.pages_scanned, happened]


def played(steps: list[Step], across: int, **machine: Any) -> list[Any]:
    """What is there after one player's steps, and after three more scans."""
    dumps: list[Any] = []

    async def play(s: Stage) -> None:
        await s.set("run", 1)
        await s.set("merge_across_nodes", across)
        player = Player(s, "A")
        for first in range(0, len(steps), 8):
            await player.play(steps[first : first + 8])
            dumps.append(dump(s))
        await s.scan(3)
        dumps.append(dump(s))

    perform(play, watchers=(), **machine)
    return dumps


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["series", "v3.9"])
@settings(same_in_ci, max_examples=8)
@given(programs, st.integers(0, 1))
def test_index_and_walk_agree(kernel: str, steps: list[Step], across: int) -> None:
    """Whatever a player does, trees, lists, counters and events are the same with the index and without."""
    assert played(steps, across, kernel=kernel) == played(steps, across, kernel=kernel, layer=Walks)


@pytest.mark.parametrize("steps_before", range(12))
def test_a_zap_across_the_start_of_a_scan(steps_before: int) -> None:
    """A page goes while a scan starts and fills the unstable tree with it: index and walk agree on what is left."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 50)
        await s.process("B", 10)
        await s.process("C", 90)
        await s.scan()
        zapping = s.start("zapping", s.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_DONTNEED))
        for _ in range(steps_before):
            await s.step(zapping)
        await s.batch(1)
        await s.finish(zapping)
        dumps.append(dump(s))
        await s.scan()
        dumps.append(dump(s))

    def dumps_of(**machine: Any) -> list[Any]:
        dumps.clear()
        perform(play, kernel="v3.9", watchers=(), **machine)
        return list(dumps)

    dumps: list[Any] = []
    assert dumps_of() == dumps_of(layer=Walks)


def test_the_index_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undisturbed scans do use the index, and a kernel that must walk does not: the comparison compares something."""
    used: list[str] = []
    find = ContentTree.find

    def counting(self: ContentTree[Any], content: Any) -> InsertPosition:
        used.append(self.name)
        return find(self, content)

    monkeypatch.setattr(ContentTree, "find", counting)
    steps: list[Step] = [("scan", 0, 0)] * 4
    played(steps, 1)
    assert {"root_stable_tree[0]", "root_unstable_tree[0]"} == set(used)
    used.clear()
    played(steps, 1, layer=Walks)
    assert used == []
