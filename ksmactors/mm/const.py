"""Numbers that the kernel and its users have agreed on."""

from __future__ import annotations

from errno import EACCES, EAGAIN, EBUSY, EFAULT, EINTR, EINVAL, EIO, ENOENT, ENOMEM, ERANGE
from typing import Final

__all__ = [
    "EACCES", "EAGAIN", "EBUSY", "EFAULT", "EHWPOISON", "EINTR", "EINVAL", "EIO", "ENOENT", "ENOMEM", "ERANGE",
    "ERESTARTSYS", "MADV_DONTNEED", "MADV_FREE", "MADV_HWPOISON", "MADV_MERGEABLE", "MADV_PAGEOUT",
    "MADV_SOFT_OFFLINE", "MADV_UNMERGEABLE", "PAGE_SHIFT", "PAGE_SIZE", "VM_FAULT_HWPOISON", "VM_FAULT_OOM",
    "VM_FAULT_SIGBUS", "VM_FAULT_WRITE", "page_align",
]  # fmt: skip

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT

EHWPOISON: Final = 133
"""The memory of a page has failed. Python's `errno` lacks it before 3.14."""

ERESTARTSYS: Final = 512
"""A signal came in between: the process never sees it, but EINTR, or its call is restarted."""

MADV_DONTNEED: Final = 4
MADV_FREE: Final = 8
"""Since v4.5; unknown to v3.9."""
MADV_MERGEABLE: Final = 12
MADV_UNMERGEABLE: Final = 13
MADV_PAGEOUT: Final = 21
"""Since v5.4; unknown to v3.9."""
MADV_HWPOISON: Final = 100
MADV_SOFT_OFFLINE: Final = 101

VM_FAULT_OOM: Final = 0x0001
VM_FAULT_SIGBUS: Final = 0x0002
VM_FAULT_HWPOISON: Final = 0x0010
"""The memory of the page has failed: the process gets SIGBUS."""
VM_FAULT_WRITE: Final = 0x0008
"""A write fault was served by making a private page writable or by copying: break_ksm waits for this."""


def page_align(length: int) -> int:
    """PAGE_ALIGN: a length in bytes, rounded up to whole pages."""
    return (length + PAGE_SIZE - 1) & -PAGE_SIZE
