"""What a guest keeps for reasons of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksmactors.conformance.language import parse
from ksmactors.conformance.live import Live
from ksmactors.guest import own_machine
from ksmactors.guest.background import Background, BackgroundTask
from ksmactors.guest.own_machine import MOVABLE, OwnMachine


def test_a_block_may_stay_online_for_reasons_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own pages, or frames that an earlier scenario has lost; a failure in this one is compared."""
    own = OwnMachine.__new__(OwnMachine)
    own.zones = {"memory1": MOVABLE, "memory2": "Normal"}
    own.failed = own.traced = own.swap = False
    monkeypatch.setattr(OwnMachine, "online_all", lambda _: None)
    said: list[str] = []
    monkeypatch.setattr(Live, "perform", lambda *_: said.append(own.keeps("memory1")))
    own.perform(parse("proc A\n"))
    own.perform(parse("proc A\nmap A r 1\nfill A r 0 1\nhwpoison A r 0\n"))
    own.perform(parse("proc A\n"))
    assert said == ["", "", "memory has failed in an earlier scenario of this boot"]
    assert own.keeps("memory2") == "the kernel has pages of its own in this memory"


def test_a_trace_starts_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tracefs clears a trace that is opened to be truncated, and only then."""
    monkeypatch.setattr(own_machine, "TRACING", tmp_path)
    (tmp_path / "events" / "ksm").mkdir(parents=True)
    (tmp_path / "events" / "ksm" / "enable").write_text("0")
    (tmp_path / "trace").write_text("ksmd-40 ksm_exit: mm 0x1\n")
    own = OwnMachine.__new__(OwnMachine)
    own.traced = False
    own.trace(on=True)
    assert (tmp_path / "trace").read_text() == ""
    assert (tmp_path / "events" / "ksm" / "enable").read_text() == "1"


@pytest.mark.parametrize(
    ("stack", "owner", "waits"),
    [
        (("__ksm_exit", "__mmput", "exit_mm", "do_exit"), 0, "mmap_lock (write)"),
        (("run_store", "kernfs_fop_write_iter"), 0, "ksm_thread_mutex"),
        (("run_store", "kernfs_fop_write_iter"), 8, "ksm_thread_mutex"),
        (("run_store", "kernfs_fop_write_iter"), 7, "mmap_lock (read)"),
    ],
)
def test_what_a_task_waits_for_is_told_from_its_stack(stack: tuple[str, ...], owner: int, waits: str) -> None:
    """__ksm_exit takes mmap_lock while ksmd is in the process, and never ksm_thread_mutex. run=2, which has that, waits
    for mmap_lock in a function that may be inlined."""
    background = Background(lambda: ({}, []), lambda _name, _pid: None, lambda: owner)
    background.running["A"] = BackgroundTask(7)
    text = "".join(f"[<0>] {function}+0x1/0x2\n" for function in stack)
    assert background._waits_for("A", text) == waits
