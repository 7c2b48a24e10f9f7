"""The kernel of the tests that boot a guest."""

from __future__ import annotations

import os

import pytest

from ksmactors.errors import UsageError
from ksmactors.guest import boot


@pytest.fixture
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
