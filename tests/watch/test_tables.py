"""Tables of watchers that name functions name functions that exist: a renamed one would silently lose its exemption."""

from __future__ import annotations

import pytest

from ksmactors.kernels import VARIANTS
from ksmactors.ksm.instrumented import FIELDS, KERNEL_FIELDS
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.reports import STORES
from ksmactors.watch.lock_order import NESTED, NEVER_WAITS
from ksmactors.watch.lockset import EITHER_LOCK, EXEMPT

NAMED = [
    *(("NESTED", function) for _, function in NESTED),
    *(("NEVER_WAITS", function) for function in sorted(NEVER_WAITS)),
    *(("EXEMPT", function) for _, function in EXEMPT),
    *(("STORES", function) for function in sorted(STORES)),
]


@pytest.mark.parametrize(("table", "function"), NAMED)
def test_functions_exist(table: str, function: str) -> None:
    """A kernel has each of them."""
    assert any(callable(getattr(cls, function, None)) for cls in (Ksm, *(one.layer for one in VARIANTS.values())))


@pytest.mark.parametrize("field", [*EITHER_LOCK, *(field for field, _ in EXEMPT if field != "vmas")])
def test_fields_exist(field: str) -> None:
    """A structure, or the kernel, declares each of them."""
    declared = {field for fields in FIELDS.values() for field in fields.values()} | {
        *FIELDS[StableNode],
        *KERNEL_FIELDS,
    }
    assert field in declared
