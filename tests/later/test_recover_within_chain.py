"""The recovery that was proposed for KSM pages whose memory has failed: where it works, and what is wrong with it."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.mm.const import EHWPOISON
from tests.helpers.directed import Play, Proc, Stage, perform


def patched(play: Play, *watchers: str) -> None:
    """Perform a program on v6.12 with the patch."""
    perform(play, kernel="v6.12", with_=("recover-within-chain",), nodes=1, watchers=watchers)


async def chain(s: Stage) -> list[Proc]:
    """Four processes that share two KSM pages of one content."""
    for knob, value in ("max_page_sharing", 2), ("stable_node_chains_prune_millisecs", 0), ("smart_scan", 0):
        await s.set(knob, value)
    procs = [await s.process(name, 7) for name in "ABCD"]
    await s.scan(3)
    assert len({s.frame(proc, 0) for proc in procs}) == 2
    return procs


async def recovered(s: Stage) -> None:
    """The memory of one of the two fails: its processes read on, in a copy."""
    procs = await chain(s)
    page = s.frame(procs[3], 0)
    assert await s.memory_failure(page) == 0
    assert page.mapcount == 0
    for proc in procs:
        assert await s.read(proc, 0) is s.kernel.contents.token(7)


def test_without_it_they_are_killed() -> None:
    """On v6.12 the two processes that share the page cannot read on; the other two can."""

    async def play(s: Stage) -> None:
        procs = await chain(s)
        await s.memory_failure(s.frame(procs[3], 0))
        assert [await s.read(proc, 0) == -EHWPOISON for proc in procs].count(True) == 2
        await s.quiesce()

    perform(play, kernel="v6.12", nodes=1)


@pytest.mark.parametrize(
    ("watcher", "signature"),
    [
        ("lock_order", "lock_order/ksm_thread_mutex_under_page_lock@ksm_recover_within_chain"),
        ("naming", "naming/freed_while_named@free_stable_node"),
    ],
)
def test_what_is_wrong_with_it(watcher: str, signature: str) -> None:
    """The order of its locks, and the node that it frees, are found even when nothing else happens."""
    with pytest.raises(Finding) as found:
        patched(recovered, watcher)
    assert found.value.signature == signature


def test_an_entry_that_maps_another_page() -> None:
    """A process has written to its page: the failed page is unmapped where it is not mapped any more."""

    async def play(s: Stage) -> None:
        procs = await chain(s)
        page = s.frame(procs[3], 0)
        await s.write(procs[3], 0, 8)
        await s.memory_failure(page)

    with pytest.raises(Finding) as found:
        patched(play)
    assert found.value.signature == "references/freed_while_mapped@ksm_recover_within_chain"
