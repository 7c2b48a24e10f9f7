"""The operations of the scenario language: their forms, and which can run in the background."""

from __future__ import annotations

from typing import Final

FORMS: Final[dict[str, str]] = {
    "requires": "nodes|knob|swap [REQUIRED]",
    "proc": "NEWPROC",
    "fork": "PROC NEWPROC",
    "exit": "PROC",
    "exec": "PROC",
    "map": "PROC NEWREGION PAGES [node NODE]",
    "fill": "PROC REGION INDEX TOKEN",
    "fillrange": "PROC REGION FIRST END TOKEN",
    "fillseq": "PROC REGION FIRST END TOKEN",
    "check": "PROC REGION INDEX TOKEN",
    "checkrange": "PROC REGION FIRST END TOKEN",
    "checkseq": "PROC REGION FIRST END TOKEN",
    "read": "PROC REGION FIRST END",
    "mergeable": "PROC REGION [FIRST END]",
    "unmergeable": "PROC REGION [FIRST END]",
    "dontneed": "PROC REGION [FIRST END]",
    "munmap": "PROC REGION [FIRST END]",
    "swapout": "PROC REGION [FIRST END]",
    "free": "PROC REGION [FIRST END]",
    "mlock": "PROC REGION [FIRST END]",
    "munlock": "PROC REGION [FIRST END]",
    "prctl": "PROC on|off",
    "pin": "PROC REGION INDEX",
    "unpin": "PROC REGION INDEX",
    "process_vm_readv": "PROC REGION [FIRST END]",
    "hwpoison": "PROC REGION INDEX",
    "softoffline": "PROC REGION INDEX",
    "set": "KNOB VALUE",
    "get": "KNOB",
    "step": "N",
    "scan": "N",
    "trace": "N [frames] [trees]",
    "tracescan": "N [frames] [trees]",
    "counters": "",
    "frames": "",
    "trees": "",
    "shared": "PROC REGION INDEX",
    "procstat": "PROC",
    "migrate": "PROC REGION INDEX NODE",
    "migrate1": "PROC REGION INDEX NODE",
    "where": "PROC REGION INDEX",
    "reclaim": "BYTES",
    "mremap": "PROC REGION NEWREGION [FIRST END]",
    "offline": "PROC REGION INDEX",
    "online": "",
    "ktrace": "",
    "drain": "[on|off]",
    "device": "sync|async|none",
    "sleep": "MS",
    "hold": "TASK at|after PLACE [NTH] [in FUNC]",
    "bg": "OPERATION...",
    "release": "TASK",
    "disarm": "TASK",
    "signal": "TASK",
    "settle": "",
}
"""Every operation and its arguments: words in capitals are parameters, the others are written as they are.

`exec`: the process executes a program and has no regions any more. `process_vm_readv`: another process reads these
pages with that system call, which pins each for a moment. `device none`: the machine has no swap."""

TOKEN_END: Final = 1 << 64

LIMITS: Final = {"PAGES": 1 << 20, "N": 1 << 32, "MS": 1 << 32}
"""Exclusive limits of counts: a region of 4 GiB needs as many page names; the others are the kernel's own limits."""

KERNEL_TASKS: Final = {
    "step": "ksmd", "scan": "ksmd", "migrate": "migrate", "migrate1": "migrate", "set": "set", "reclaim": "reclaim",
}  # fmt: skip
"""The tasks that are no processes, by what they do in the background."""

OWN_TASKS: Final = frozenset({
    "fill", "fillrange", "fillseq", "check", "checkrange", "checkseq", "read", "mergeable", "unmergeable", "dontneed",
    "munmap", "swapout", "free", "mlock", "munlock", "prctl", "mremap", "fork", "exit", "hwpoison",
    "softoffline",
})  # fmt: skip
"""What a process can do in the background."""
