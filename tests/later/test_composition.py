"""Kernels are sets of layers: which, and what may be taken off and put on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.language import read_scenario
from ksmactors.errors import UsageError
from ksmactors.later import KERNELS, VARIANTS, kernel_class

SCENARIOS = Path(__file__).parent.parent / "conformance" / "scenarios"
BUSY = SCENARIOS / "55_man0_migrate_collision.txt"
"""A scenario with merging, breaking, migrations and collisions."""


def test_kernels_have_what_later_md_says() -> None:
    """Each later kernel is the one before with some layers more; two are replaced by their later form."""
    v6_1, v6_12, v6_18, v7_3 = (set(KERNELS[name]) for name in ("v6.1", "v6.12", "v6.18", "v7.3"))
    assert v6_1 < v6_12 < v6_18 < v7_3
    assert v6_12 - v6_1 == {
        "advisor", "chains-any-dup", "checksum-first", "merge-any", "move-enoent", "per-mm-fork", "profit", "scanned",
        "smart-scan", "tracepoints", "unshare-fault", "zero-counted",
    }  # fmt: skip
    assert v6_18 - v6_12 == {"per-mm-mergeable"}
    assert v7_3 - v6_18 == {"overlay"}


def test_no_later_kernel_has_a_repair_of_ours() -> None:
    """What no upstream commit repaired is in `series` only."""
    ours = {name for name in KERNELS["series"] if name not in KERNELS["v7.3"]}
    assert {"ksm-into-ksm", "kpfn-aba", "freed-head", "half-ksm"} <= ours
    assert not any(ours & set(names) for kernel, names in KERNELS.items() if kernel != "series")


def test_a_layer_that_another_is_built_on_stays() -> None:
    """Taking off the half that the other half needs is refused, and the other half is named."""
    with pytest.raises(UsageError, match="chains-any-dup cannot be without chains"):
        kernel_class(kernel="v6.12", without=("chains",))
    assert not hasattr(kernel_class(kernel="v6.12", without=("chains", "chains-any-dup")), "max_page_sharing_store")


@pytest.mark.parametrize("order", [("zero-pages", "zero-counted"), ("zero-counted", "zero-pages")])
def test_a_layer_that_is_there_already_is_not_put_on_twice(order: tuple[str, str]) -> None:
    """Both orders give a class that counts zero pages."""
    cls = kernel_class(kernel="v3.9", with_=order)
    assert issubclass(cls, VARIANTS["zero-counted"].layer)


@pytest.mark.parametrize("kernel", ["v3.9", "series"])
@pytest.mark.parametrize("name", VARIANTS)
async def test_every_layer_goes_with_v3_9_and_with_series(kernel: str, name: str) -> None:
    """One by one, each makes a kernel that merges, migrates and breaks without a finding."""
    performance = await perform(read_scenario(BUSY), Setting(kernel, with_=(name,)))
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
    performance = await perform(read_scenario(BUSY), Setting(kernel, without=(name,)))
    assert performance.failure is None
