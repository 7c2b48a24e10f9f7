"""A real kernel in a virtual machine: it does what its kind did when it was recorded.

Needs qemu, virtme-ng and a kernel: KSMACTORS_GUEST_KERNEL=linux-image-6.12...deb, an image or a package of 6.12 or
later. Each boot takes half a minute or more without KVM.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ksmactors.cli import main

CONFORMANCE = Path(__file__).parent.parent / "conformance"
pytestmark = [pytest.mark.guest, pytest.mark.timeout(1800)]


def scenario(*parts: str) -> str:
    return str(CONFORMANCE.joinpath(*parts))


def test_the_emulator_stops_where_the_kernel_crashes(kernel: str, capsys: pytest.CaptureFixture[str]) -> None:
    """H2: the crash is named, its console kept, and the next scenario has a new guest."""
    names = ("h2_unstable_root_left", "d1_both_control")
    files = [scenario("confirmed", "scenarios", f"{name}.txt") for name in names]
    assert main(["conform", *files, "--guest", kernel]) == 0
    said = capsys.readouterr().err
    assert "h2_unstable_root_left kernel crashed: NULL dereference in down_read, called from ksm_scan_thread" in said
    assert "where the kernel crashed: lifetime" in said
    assert said.endswith("2 scenarios: 2 same\n")


def test_a_task_is_held_on_a_real_kernel(kernel: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The page migrates while ksmd sleeps in front of its second look."""
    file = scenario("races", "scenarios", "r01_search_second_look_migrated.txt")
    assert main(["conform", file, "--guest", kernel]) == 0
    assert capsys.readouterr().err.endswith("1 scenario: 1 same\n")
