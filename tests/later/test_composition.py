"""Every layer goes with every other: put on by itself, and left out of a kernel that has it."""

from __future__ import annotations

import pytest

from ksmactors.conformance.emulator import Setting, perform
from ksmactors.errors import UsageError
from ksmactors.kernels import KERNELS, VARIANTS, kernel_class
from ksmactors.later import LATER, SERIES
from tests.helpers.busy import BUSY


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        *((name, "v3.9") for name in [*SERIES, *LATER]),
        *((name, "series") for name in LATER),
        *(pytest.param(name, "series", marks=pytest.mark.nightly) for name in SERIES),  # it has all of them already
    ],
)
async def test_every_layer_goes_with_v3_9_and_with_series(name: str, kernel: str) -> None:
    """One by one, each makes a kernel that merges, migrates and breaks without a finding."""
    performance = await perform(BUSY, Setting(kernel, with_=(name,)))
    assert performance.failure is None
    assert performance.lines[-1].startswith("=")


@pytest.mark.parametrize(
    ("kernel", "name"),
    [(kernel, name) for kernel in ("v6.1", "v7.3") for name in KERNELS[kernel]],
)
async def test_every_layer_can_be_left_out(kernel: str, name: str) -> None:
    """A later kernel without one of its layers runs, or the layers that need it are named."""
    layer = VARIANTS[name].layer
    if any(issubclass(VARIANTS[other].layer, layer) for other in KERNELS[kernel] if other != name):
        with pytest.raises(UsageError, match=f"cannot be without {name}"):
            kernel_class(kernel=kernel, without=(name,))
        return
    performance = await perform(BUSY, Setting(kernel, without=(name,)))
    assert performance.failure is None
