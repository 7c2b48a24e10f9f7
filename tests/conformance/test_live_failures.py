"""Memory that fails on a live kernel: what is seen of it, and how processes end. Needs no KSM, and no root."""

from __future__ import annotations

import os
import signal

import pytest

from ksmactors.conformance.language import parse
from ksmactors.conformance.live import Live
from ksmactors.conformance.live_ksm import Disturbed
from ksmactors.conformance.live_pages import (
    KPF_HWPOISON,
    PAGEMAP_PRESENT,
    PAGEMAP_SWAP,
    SPECIAL,
    SWAP_TYPE_BITS,
    Pages,
)
from ksmactors.conformance.live_world import ARENA, Killed, LiveProcess, fork_of, launch
from ksmactors.conformance.page_map import NamedPages, PageName, PageState, group_of, partition


def test_a_fault_that_ends_a_process() -> None:
    """A process that touches memory which it must not is a result: the signal. It and its socket are gone."""
    process = launch("A")
    process.ping()
    with pytest.raises(Killed) as killed:
        process.ask("read", ARENA, 1)
    assert killed.value.signal == "SIGSEGV"
    assert process.orders.fileno() < 0


def test_a_fork_tells_on_its_own_socket() -> None:
    """The fault of a child is told to who asked the child; its parent answers on."""
    parent = launch("A")
    pid, orders = fork_of(parent)
    child = LiveProcess("B", pid, orders, names=NamedPages("B"))
    with pytest.raises(Killed):
        child.ask("read", ARENA, 1)
    parent.ping()
    parent.exit()


def test_another_end_is_an_error() -> None:
    """A process that is killed from outside disturbs a scenario."""
    process = launch("A")
    process.ping()
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(Disturbed):
        process.ping()
    process.orders.close()
    assert process.started is not None
    process.started.wait()


def test_a_live_host_does_not_lose_memory() -> None:
    """The scenario is skipped, before anything is looked at."""
    live = Live.__new__(Live)
    live.nodes = 1
    transcript = live.perform(parse("proc A\nmap A r 1\nfill A r 0 7\nhwpoison A r 0\n"))
    assert transcript.lines == ("> hwpoison A r 0", "= skip: memory that fails on a live host is lost for good")
    assert transcript.missing.startswith("takes memory away for good (operation 'hwpoison', line 4)")


class FlaggedPages(Pages):
    """Pages of a machine on which frame 9 has failed."""

    def __init__(self) -> None:
        self._table = None

    def _flags_of(self, pfn: int) -> int:
        return KPF_HWPOISON if pfn == 9 else 0


@pytest.mark.parametrize(
    ("entry", "state"),
    [
        (0, PageState("none")),
        (PAGEMAP_SWAP | 3 | 9 << SWAP_TYPE_BITS, PageState("swap")),
        (PAGEMAP_SWAP | SPECIAL | 9 << SWAP_TYPE_BITS, PageState("hwpoison")),
        (PAGEMAP_SWAP | SPECIAL | 8 << SWAP_TYPE_BITS, PageState("moving")),
        (PAGEMAP_PRESENT | 9, PageState("anon", 9, 1, True)),
        (PAGEMAP_PRESENT | 8, PageState("anon", 8, 1)),
    ],
)
def test_what_an_entry_is(entry: int, state: PageState) -> None:
    """A special entry names a frame: one that has failed, or one on its way."""
    assert FlaggedPages()._page_state(entry, 1) == state


def test_frames_that_have_failed_are_marked() -> None:
    """In `frames` and `shared`, beside those that are whole."""
    states = [PageState("ksm", 9, 0, True), PageState("ksm", 9, 0, True), PageState("anon", 5, 1, True),
              PageState("anon", 6, 1), PageState("hwpoison")]  # fmt: skip
    pages = [(PageName("A", "r", index), state) for index, state in enumerate(states)]
    assert partition(pages) == [
        "ksm hwpoison n=2 node=0: A.r.0-1",
        "alone n=1 node=1: A.r.3",
        "alone hwpoison n=1 node=1: A.r.2",
        "hwpoison n=1: A.r.4",
    ]
    assert group_of(pages[2][0], pages) == "alone hwpoison n=1 node=1: A.r.2"
    assert group_of(pages[4][0], pages) == "hwpoison n=1: A.r.4"
