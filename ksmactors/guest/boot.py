"""Start a guest with virtme-ng and qemu, and end it. The guest sees this machine's files, and cannot change them."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import ksmactors
from ksmactors.errors import UsageError
from ksmactors.guest.image import KernelImage

QEMU: Final = "qemu-system-x86_64"
NODE_MIB: Final = 512
"""Memory of each node."""

NODES_MAX: Final = 8

KERNEL_OPTIONS: Final = ("oops=panic", "nopti", "mitigations=off", "memhp_default_state=online_movable")
"""A crash ends the guest at once. Without page table isolation, the kernel can be read wherever a processor stands.
Memory modules hold movable pages alone, so that they can be taken offline."""

MODULE_MIB: Final = 256
"""The memory module of each node, beside the memory that it boots with."""

PR_SET_PDEATHSIG: Final = 1

TOOLS: Final = (
    (QEMU, "qemu-system-x86", "qemu-system-x86-core"),
    ("busybox", "busybox-static", "busybox"),
    ("modprobe", "kmod", "kmod"),
    ("depmod", "kmod", "kmod"),
)
"""Programs that booting needs, and the packages of Debian and Ubuntu, and of Fedora, that have them."""


def check_tools() -> None:
    """Refuse machines that lack a program.

    Raises:
        UsageError: the message says what to install.
    """
    if importlib.util.find_spec("virtme") is None:
        raise UsageError("--guest needs virtme-ng; install it: pip install 'ksmactors[guest]'")
    path = _search_path()
    for program, debian, fedora in TOOLS:
        if shutil.which(program, path=path) is None:
            raise UsageError(f"--guest needs {program}; install it: apt install {debian}, or dnf install {fedora}")
    if all(shutil.which(program, path=path) is None for program in ("file", "strings")):
        raise UsageError("--guest needs file or strings; install one: apt install file, or dnf install file")


def kvm_works() -> bool:
    """Whether this machine can run guests on its own processor. Having /dev/kvm is not enough: qemu is asked."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command = [
        QEMU, "-machine", "q35,accel=kvm", "-cpu", "host", "-m", "64M", "-nodefaults", "-display", "none", "-S",
        "-monitor", "stdio",
    ]  # fmt: skip
    try:
        asked = subprocess.run(
            command, input=b"quit\n", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20, check=False,
            start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def command_line(image: KernelImage, nodes: int, *, kvm: bool, stub: Path) -> list[str]:
    """Return the command that boots a kernel and runs `inside` in it; `stub` will be the socket of qemu's gdb stub."""
    words = [
        sys.executable, "-m", "virtme.commands.run", "--kimg", str(image.path), "--mods", "auto", "--force-9p",
        "--disable-microvm", "--user", "root", "--cpus", str(max(nodes, 2)), "--memory", f"{NODE_MIB * nodes}M",
        "--show-boot-console",
    ]  # fmt: skip
    for node in range(nodes):
        cpus = f"{node}" if nodes > 1 else "0-1"
        words += ["--numa", f"{NODE_MIB}M,cpus={cpus}"]
    for option in KERNEL_OPTIONS:
        words += ["-a", option]
    if not kvm:
        words.append("--disable-kvm")
    gdb = ["-chardev", f"socket,path={stub},server=on,wait=off,id=stub", "-gdb", "chardev:stub"]
    for argument in (*_memory_modules(nodes), *gdb):
        words.append(f"--qemu-opt={argument}")
    return [*words, "--script-sh", program(image.modules)]


def _memory_modules(nodes: int) -> list[str]:
    """Return qemu's arguments for a memory module in each node. Processes get their pages there. This machine's KSM is
    not asked to merge them, as qemu does by default: `--live` needs that nobody uses it."""
    words = ["-m", f"slots={nodes},maxmem={(NODE_MIB + MODULE_MIB) * nodes}M"]
    for node in range(nodes):
        words += ["-object", f"memory-backend-ram,id=module{node},size={MODULE_MIB}M,merge=off"]
        words += ["-device", f"pc-dimm,memdev=module{node},node={node}"]
    return words


def program(modules: Path | None) -> str:
    """Return the shell command that runs `inside`, with nothing in its search path that it does not need."""
    return python(f"from ksmactors.guest.inside import main; main({str(modules or '')!r})")


def python(code: str) -> str:
    """Return the shell command that runs a line of Python which imports modules of ksmactors."""
    import shlex

    import typing_extensions

    roots = [str(Path(ksmactors.__file__).resolve().parent.parent), str(Path(typing_extensions.__file__).parent)]
    return f"exec {shlex.quote(sys.executable)} -I -S -B -c {shlex.quote(f'import sys; sys.path += {roots!r}; {code}')}"


def start(command: Sequence[str], console: IO[bytes], scratch: Path) -> subprocess.Popen[bytes]:
    """Start a guest; its console is written to a file. What virtme-ng leaves behind is in the directory `scratch`."""
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=console, start_new_session=True,
        env=os.environ | {"PATH": _search_path(), "TMPDIR": str(scratch)}, preexec_fn=_die_with_parent,  # noqa: PLW1509
    )  # fmt: skip


def end(guest: subprocess.Popen[bytes]) -> None:
    """End a guest with all its processes."""
    with suppress(ProcessLookupError):
        os.killpg(guest.pid, signal.SIGKILL)
    for stream in (guest.stdin, guest.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    guest.wait()


def _die_with_parent() -> None:
    """Have the kernel end the guest when this process is gone, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _search_path() -> str:
    """Return the search path for programs; an ordinary user's often lacks the directories of modprobe."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
