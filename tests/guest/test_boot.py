"""The command that boots a guest, and the programs that it needs."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ksmactors.errors import UsageError
from ksmactors.guest import boot
from ksmactors.guest.image import KernelImage

IMAGE = KernelImage(Path("/k/vmlinuz"), "6.12.1", Path("/k/lib/modules/6.12.1"))


def test_each_node_has_a_processor_and_memory() -> None:
    """With one node, two processors; all of it adds up to the whole memory."""
    for nodes, cpus in [(1, "2"), (2, "2"), (4, "4")]:
        words = boot.command_line(IMAGE, nodes, kvm=False, stub=Path("/s"))
        assert words[words.index("--cpus") + 1] == cpus
        assert words[words.index("--memory") + 1] == f"{512 * nodes}M"
        assert words.count("--numa") == nodes
        assert "--disable-kvm" in words
    assert "512M,cpus=1" in boot.command_line(IMAGE, 2, kvm=True, stub=Path("/s"))
    assert "--disable-kvm" not in boot.command_line(IMAGE, 2, kvm=True, stub=Path("/s"))


def test_a_crash_ends_the_guest() -> None:
    """Or the run would wait for a kernel that has lost its ksmd."""
    words = boot.command_line(IMAGE, 2, kvm=True, stub=Path("/s"))
    assert "oops=panic" in words
    assert words[words.index("oops=panic") - 1] == "-a"


def test_the_program_inside_does_not_import_the_emulator() -> None:
    """Each module costs a tenth of a second on an emulated processor."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import ksmactors.guest.inside, sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert "ksmactors.guest.inside" in loaded
    for heavy in ("trio", "click", "structlog", "ksmactors.ksm.kernel", "ksmactors.mm.kernel", "ksmactors.cli"):
        assert heavy not in loaded


def test_the_program_inside_is_found_without_site_packages() -> None:
    """It gets its search path from its command line."""
    command = boot.program(Path("/k/lib/modules/6.12.1"))
    assert "main('/k/lib/modules/6.12.1')" in command.replace("'\"'\"'", "'")
    asked = command.replace("; main(", "; print(main.__module__) if 1 else main(")
    found = subprocess.run(["/bin/sh", "-c", asked], capture_output=True, text=True, check=True)
    assert found.stdout == "ksmactors.guest.inside\n"


def test_the_program_inside_opens_the_ports_that_virtme_ng_has_not_found(tmp_path: Path) -> None:
    """By the kernel's names for them, as soon as it has both; what it was started with was the console."""
    for number, name in enumerate(("virtme.stdout", "virtme.ret", "virtme.stdin")):
        port = tmp_path / "ports" / f"vport1p{number}"
        port.mkdir(parents=True)
        (port / "name").write_text(f"{name}\n")
        (tmp_path / port.name).write_text("asked\n" if name == "virtme.stdin" else "")
    code = f"take_ports(Path({str(tmp_path / 'ports')!r}), Path({str(tmp_path)!r})); send(got=sys.stdin.readline())"
    subprocess.run(
        [sys.executable, "-c", f"import sys; from ksmactors.guest.inside import *; {code}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=60,
    )  # fmt: skip
    assert (tmp_path / "vport1p0").read_text() == '{"got": "asked\\n"}\n'


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        ("qemu-system-x86_64", "needs qemu-system-x86_64; install it: apt install qemu-system-x86, or dnf install"),
        ("busybox", "apt install busybox-static"),
        ("modprobe", "apt install kmod"),
        ("depmod", "apt install kmod"),
        ("file strings", "needs file or strings; install one: apt install file"),
    ],
)
def test_a_program_that_is_missing_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, absent: str, said: str
) -> None:
    """In one line."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(shutil, "which", lambda name, path: None if name in absent.split() else f"{path}/{name}")
    with pytest.raises(UsageError, match=said):
        boot.check_tools()


def test_virtme_ng_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"needs virtme-ng; install it: pip install 'ksmactors\[guest\]'"):
        boot.check_tools()


def test_a_device_that_qemu_cannot_use_is_not_kvm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In containers and nested machines /dev/kvm may be there and not work."""
    qemu = tmp_path / boot.QEMU
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(boot.os, "access", lambda *_: True)
    assert not boot.kvm_works()
    for status, works in [(1, False), (0, True)]:
        qemu.write_text(f"#!/bin/sh\nexit {status}\n")
        qemu.chmod(0o700)
        assert boot.kvm_works() is works
    monkeypatch.setattr(boot.os, "access", lambda *_: False)
    assert not boot.kvm_works()
