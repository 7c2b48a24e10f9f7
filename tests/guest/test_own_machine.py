"""What a guest keeps for reasons of its own."""

from __future__ import annotations

import pytest

from ksmactors.conformance.language import parse
from ksmactors.conformance.live import Live
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
