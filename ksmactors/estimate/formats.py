"""Memory dumps that are neither raw images nor ELF cores: LiME is read, others are refused by name.

Their pages do not begin at a multiple of 4096 bytes of the file, or are compressed. Read as a raw image, they would be
counted misaligned.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from ksmactors.errors import UsageError
from ksmactors.estimate.elf import SEGMENTS_MAX, Core, Segment

_HEADER: Final = struct.Struct("<4sIQQ8x")
"""Of a LiME range: magic, version, first and last physical address; the range follows."""

_LIME: Final = b"EMiL"
_LIME_VERSION: Final = 1

_IMAGE: Final = "give an ELF core or a raw image of the memory"
_UNPACK: Final = "unpack it first"
_VMWARE: Final = ("a state of VMware (.vmss, .vmsn)", "give the .vmem file beside it")

_REFUSED: Final = {
    b"KDUMP   ": (
        "a compressed dump of kdump (KDUMP)", "give an ELF core: makedumpfile writes one with -E, without -c, -l or -p",
    ),
    b"DISKDUMP": ("a dump of diskdump", _IMAGE),
    b"makedumpfile\0": ("a flattened dump of makedumpfile", "put it in order with makedumpfile -R"),
    b"QEVM": ("a saved state of QEMU (QEVM)", "give an ELF core: dump-guest-memory FILE in QEMU's monitor writes one"),
    b"LibvirtQemudSave": ("a domain saved by libvirt", "give an ELF core: virsh dump --memory-only writes one"),
    b"LibvirtQemudPart": ("a domain that libvirt did not save whole", "give an ELF core: virsh dump --memory-only"),
    b"AVML": ("a compressed dump of AVML", "convert it: avml-convert FILE OUTPUT writes a dump of LiME"),
    b"PAGEDU64": ("a crash dump of Windows (PAGEDU64)", _IMAGE),
    b"PAGEDUMP": ("a crash dump of Windows (PAGEDUMP)", _IMAGE),
    b"\x7fVirtualBox SavedState": ("a saved state of VirtualBox", "give an ELF core: VBoxManage debugvm dumpvmcore"),
    b"QFI\xfb": ("a disk image of QEMU (qcow)", "give the memory of the guest; a disk is nothing for KSM"),
    b"KDMV": ("a disk image of VMware (VMDK)", "give the memory of the guest, its .vmem file"),
    b"vhdxfile": ("a disk image (VHDX)", "give the memory of the guest; a disk is nothing for KSM"),
    b"\xd0\xbe\xd2\xbe": _VMWARE,
    b"\xd1\xba\xd1\xba": _VMWARE,
    b"\xd2\xbe\xd2\xbe": _VMWARE,
    b"\xd3\xbe\xd3\xbe": _VMWARE,
    b"\x1f\x8b\x08": ("compressed by gzip", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", _UNPACK),
    b"\xfd7zXZ\0": ("compressed by xz", _UNPACK),
    b"\x04\x22\x4d\x18": ("compressed by lz4", _UNPACK),
    b"BZh": ("compressed by bzip2", _UNPACK),
    b"PK\x03\x04": ("a zip archive", _UNPACK),
    b"\x89LZO\0\r\n\x1a\n": ("compressed by lzop", _UNPACK),
}  # fmt: skip
"""What files begin with that cannot be read: what they are, and what to do."""

_START: Final = max(map(len, _REFUSED))


def refuse_by_name(fd: int, path: str) -> None:
    """Refuse a dump whose pages cannot be found in it.

    Raises:
        UsageError: it is one; the message has its name and what to give instead.
    """
    start = os.pread(fd, _START, 0)
    for magic, (what, instead) in _REFUSED.items():
        if start.startswith(magic):
            raise UsageError(f"{path}: {what}, which is not read; {instead}")


def is_lime(fd: int) -> bool:
    """Return whether a file starts as a dump of LiME does."""
    return os.pread(fd, len(_LIME), 0) == _LIME


def read_lime(fd: int, path: str, size: int) -> Core:
    """Read the headers of a LiME dump: its ranges of physical memory, as the segments of a core.

    Args:
        fd: the open file.
        path: its name, for messages.
        size: in bytes.

    Raises:
        UsageError: a header is damaged.
    """
    segments: list[Segment] = []
    at = 0
    while at < size:
        header = os.pread(fd, _HEADER.size, at)
        if len(header) < _HEADER.size:
            raise UsageError(f"{path}: the dump of LiME is cut off in a header, at offset {at:#x}")
        magic, version, first, last = _HEADER.unpack(header)
        if magic != _LIME or version != _LIME_VERSION or last < first:
            raise UsageError(f"{path}: there is no header of LiME, version {_LIME_VERSION}, at offset {at:#x}")
        if len(segments) == SEGMENTS_MAX:
            raise UsageError(f"{path}: the dump of LiME has more than {SEGMENTS_MAX:,} ranges")
        length = last - first + 1
        segments.append(Segment(at + _HEADER.size, first, length, length))
        at += _HEADER.size + length
    return Core(tuple(segments), (), "LiME dump")
