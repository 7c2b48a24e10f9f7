"""The kernel of the tests that boot a guest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ksmactors.errors import UsageError
from ksmactors.guest import boot
from ksmactors.guest.image import find
from ksmactors.guest.machine import Guest


@pytest.fixture(scope="session")
def kernel() -> str:
    """The kernel to boot; skipped where there is none, or nothing to boot it with."""
    name = os.environ.get("KSMACTORS_GUEST_KERNEL", "")
    if not name:
        pytest.skip("KSMACTORS_GUEST_KERNEL names no kernel (vmlinuz or .deb)")
    try:
        boot.check_tools()
    except UsageError as refusal:
        pytest.skip(str(refusal))
    return name


@pytest.fixture(scope="session")
def kvm(kernel: str, tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Whether the kernel comes up with KVM; there are machines that offer it, and on which no guest does."""
    guest = Guest(find(Path(kernel)), 2, tmp_path_factory.mktemp("consoles"), print)
    with guest.taken():
        return guest.kvm
