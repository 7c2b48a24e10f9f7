"""What a guest's kernel has said on its console: whether it crashed, and how."""

from __future__ import annotations

import re
from typing import Final

_STAMP: Final = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[[ TC]*\d+\])? ?")
_BEGINS: Final = (
    (re.compile(r"BUG: kernel NULL pointer dereference"), "NULL dereference"),
    (re.compile(r"BUG: unable to handle page fault for address: (\S+)"), "page fault at {0}"),
    (re.compile(r"(?:Oops: )?general protection fault"), "general protection fault"),
    (re.compile(r"kernel BUG at (\S+?)!"), "BUG at {0}"),
    (re.compile(r"BUG: KASAN: (\S+) in \S+"), "KASAN: {0}"),
    (re.compile(r"Kernel panic - not syncing: (.+)"), "panic: {0}"),
    (re.compile(r"Oops: (.+)"), "Oops: {0}"),
)
"""How the report of a crash begins, and what it is called."""

_IP: Final = re.compile(r"RIP: \w+:([\w.]+)\+0x")
_CALL: Final = re.compile(r" *([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+")
_UNSURE: Final = re.compile(r" *\? ")


def crash(text: str) -> str:
    """Return how the kernel crashed, or "" if it did not: `NULL dereference in down_read, called from ksm_scan_thread`.

    The first report counts; those after it are consequences.
    """
    lines = [_STAMP.sub("", line.rstrip("\r")) for line in text.split("\n")]
    for number, line in enumerate(lines):
        for begins, name in _BEGINS:
            if found := begins.search(line):
                return name.format(*found.groups()) + _where(lines[number + 1 :])
    return ""


def _where(lines: list[str]) -> str:
    """Return the function that crashed and the one that called it, as the report behind its first line says."""
    function = ""
    trace = False
    for line in lines:
        if not function and (found := _IP.search(line)):
            function = found[1]
        elif line.strip() == "Call Trace:":
            trace = True
        elif trace and not _UNSURE.match(line) and (found := _CALL.match(line)) and found[1] != function:
            return f" in {function}, called from {found[1]}" if function else f" in {found[1]}"
        elif "---[ end trace" in line or "Kernel panic" in line:
            break
    return f" in {function}" if function else ""


def stopped_by_kvm(text: str) -> str:
    """Return why qemu has stopped the guest's processor, or "": machines that are guests themselves may have a KVM that
    runs some kernels and not others."""
    return "KVM of this machine cannot run it (KVM internal error)" if "\nKVM internal error." in f"\n{text}" else ""


def last_words(text: str, lines: int = 1) -> str:
    """Return the last lines that say something, joined; for errors whose reason is known to the boot's output alone."""
    said = [line for line in (_STAMP.sub("", line).strip() for line in text.splitlines()) if line]
    return " / ".join(said[-lines:])
