"""Numbers that the kernel and its users have agreed on."""

from __future__ import annotations

from errno import EACCES, EAGAIN, EBUSY, EFAULT, EINTR, EINVAL, ENOENT, ENOMEM, ERANGE
from typing import Final

__all__ = [
    "EACCES", "EAGAIN", "EBUSY", "EFAULT", "EINTR", "EINVAL", "ENOENT", "ENOMEM", "ERANGE",
    "MADV_DONTNEED", "MADV_MERGEABLE", "MADV_UNMERGEABLE", "PAGE_SHIFT", "PAGE_SIZE", "VM_FAULT_OOM", "VM_FAULT_WRITE",
]  # fmt: skip

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT

MADV_DONTNEED: Final = 4
MADV_MERGEABLE: Final = 12
MADV_UNMERGEABLE: Final = 13

VM_FAULT_OOM: Final = 0x0001
VM_FAULT_WRITE: Final = 0x0008
"""A write fault was served by making a private page writable or by copying: break_ksm waits for this."""
