"""The processes of a live kernel: how they end. Needs no KSM, and no root."""

from __future__ import annotations

import os
import signal

import pytest

from ksmactors.conformance.live_ksm import Disturbed
from ksmactors.conformance.live_world import ARENA, Killed, LiveProcess, fork_of, launch
from ksmactors.conformance.page_map import NamedPages


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
