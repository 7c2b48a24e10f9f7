"""Kernels that users name: images and packages, and what is wrong with them."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from ksmactors.errors import UsageError
from ksmactors.guest import image
from ksmactors.guest.image import find
from tests.helpers import kernel_packages as made

RELEASE = made.RELEASE
MODULES = {f"./lib/modules/{RELEASE}/kernel/9p.ko.xz": b"module"}
KERNEL = {f"./boot/vmlinuz-{RELEASE}": made.boot_image()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An XDG cache directory of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_image_names_its_release_and_its_modules_are_beside_it(tmp_path: Path) -> None:
    """As a distribution installs them, or as a package was unpacked."""
    image = tmp_path / "boot" / "vmlinuz"
    image.parent.mkdir()
    image.write_bytes(made.boot_image())
    (tmp_path / "lib" / "modules").mkdir(parents=True)
    assert find(image) == (image, RELEASE, None)
    (tmp_path / "lib" / "modules" / RELEASE / "kernel").mkdir(parents=True)
    assert find(image) == (image, RELEASE, tmp_path / "lib" / "modules" / RELEASE)


@pytest.mark.parametrize("compression", ["xz", "zst", ""])
@pytest.mark.parametrize("modules", ["lib/modules", "usr/lib/modules"])
def test_a_package_is_unpacked_once(tmp_path: Path, cache: Path, compression: str, modules: str) -> None:
    """Only kernel and modules of it, below the cache directory, which only the user can enter."""
    file = tmp_path / "linux-image.deb"
    files = KERNEL | {
        f"./{modules}/{RELEASE}/kernel/9p.ko.xz": b"module", "./etc/passwd": b"no",
        "./boot/../../../vmlinuz-escaped": b"no",
    }  # fmt: skip
    file.write_bytes(made.package(files, compression))
    kernel = find(file)
    assert kernel.release == RELEASE
    assert kernel.path.is_relative_to(cache / "ksmactors" / "guests")
    assert kernel.modules is not None
    assert (kernel.modules / "kernel" / "9p.ko.xz").read_bytes() == b"module"
    assert sorted(path.name for path in cache.rglob("*") if path.is_file()) == [
        "9p.ko.xz", "complete", f"vmlinuz-{RELEASE}",
    ]  # fmt: skip
    assert (cache / "ksmactors" / "guests").stat().st_mode & 0o077 == 0
    before = kernel.path.stat().st_mtime_ns
    assert find(file) == kernel
    assert kernel.path.stat().st_mtime_ns == before


def test_modules_may_be_in_a_package_beside_it(tmp_path: Path, cache: Path) -> None:
    """As Ubuntu has them."""
    file = tmp_path / "linux-image-unsigned.deb"
    file.write_bytes(made.package(KERNEL, "zst"))
    with pytest.raises(UsageError, match=f"there is no linux-modules-{RELEASE}_\\*.deb beside it; download that, too"):
        find(file)
    (tmp_path / f"linux-modules-{RELEASE}_1_amd64.deb").write_bytes(made.package(MODULES, "zst"))
    kernel = find(file)
    assert kernel.modules is not None
    assert (kernel.modules / "kernel" / "9p.ko.xz").read_bytes() == b"module"


def test_the_image_may_be_in_a_package_beside_it(tmp_path: Path, cache: Path) -> None:
    """As Debian has it since 6.19: the package of a kernel only depends on that of the image and of the modules."""
    file = tmp_path / f"linux-image-{RELEASE}_1_amd64.deb"
    file.write_bytes(made.package({"./usr/share/doc/copyright": b""}))
    with pytest.raises(UsageError, match=f"has no kernel, and there is no linux-binary-{RELEASE}_\\*.deb beside it"):
        find(file)
    binary = tmp_path / f"linux-binary-{RELEASE}_1_amd64.deb"
    binary.write_bytes(made.package({f"./usr/lib/modules/{RELEASE}/vmlinuz": made.boot_image()}))
    with pytest.raises(UsageError, match=f"there is no linux-modules-{RELEASE}_\\*.deb beside it"):
        find(file)
    modules = {f"./usr/lib/modules/{RELEASE}/kernel/9p.ko.xz": b"module"}
    (tmp_path / f"linux-modules-{RELEASE}_1_amd64.deb").write_bytes(made.package(modules))
    for named in (file, binary):
        kernel = find(named)
        assert kernel.release == RELEASE
        assert kernel.path.is_relative_to(cache)
        assert kernel.modules is not None
        assert (kernel.modules / "kernel" / "9p.ko.xz").read_bytes() == b"module"


def test_what_is_no_kernel_is_refused_in_one_line(tmp_path: Path, cache: Path) -> None:
    """Each with what it is, and what to name instead."""
    file = tmp_path / "file"
    whole = made.package(KERNEL | MODULES)
    for content, reason in [
        (b"", "is no kernel image for x86_64"),
        (b"\x7fELF" + bytes(2000), "a vmlinux has no boot header"),
        (made.boot_image("no release"), "its header names no kernel release, but 'no'"),
        (made.package({"./usr/bin/true": b""}), "has no kernel; name the package linux-image-"),
        (whole[:-200], "is no Debian package, or a damaged one"),
        (whole[:70], "it has no member data.tar"),
        (whole.replace(b"data.tar.xz", b"data.tar.Q "), "compressed in an unknown way"),
        (b"!<arch>\n" + b"x" * 60, "is no Debian package, or a damaged one"),
    ]:
        file.write_bytes(content)
        with pytest.raises(UsageError, match=f"--guest {file}: .*{reason}") as refused:
            find(file)
        assert "\n" not in str(refused.value)
    with pytest.raises(UsageError, match="is a directory; name the kernel's image"):
        find(tmp_path)
    with pytest.raises(UsageError, match="cannot be read \\(No such file"):
        find(tmp_path / "absent")
    assert list((cache / "ksmactors" / "guests").glob(".unpacking-*")) == []


def _header(name: str, kind: bytes, size: int = 0) -> bytes:
    """A member's header in a tar archive."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (_header(f"boot/vmlinuz-{RELEASE}", tarfile.DIRTYPE), "has no kernel"),
        (_header(f"boot/vmlinuz-{RELEASE}", tarfile.FIFOTYPE), "has no kernel"),
        (_header("x", tarfile.XHDTYPE, 3 << 30) + bytes(1 << 20), r"damaged one \(a header of 3221225472 bytes\)"),
        (_header("x", tarfile.GNUTYPE_LONGNAME, 3 << 30) + bytes(1 << 20), "a header of 3221225472 bytes"),
        (_header("usr/x", tarfile.REGTYPE, 1 << 42) + bytes(1 << 20), "linux.deb: unpacks to more than 4096 MiB"),
    ],
)
def test_an_archive_that_is_made_to_harm(tmp_path: Path, cache: Path, archive: bytes, reason: str) -> None:
    """Neither memory nor time is spent on it, and nothing is left."""
    file = tmp_path / "linux.deb"
    for compression in ("xz", "zst", ""):
        file.write_bytes(made.package_of(archive, compression))
        with pytest.raises(UsageError, match=reason) as refused:
            find(file)
        assert str(refused.value).count("--guest") == 1
    assert list((cache / "ksmactors" / "guests").glob(".unpacking-*")) == []


def test_directories_without_end(tmp_path: Path, cache: Path) -> None:
    """tarfile makes the directories of a file by calls within calls."""
    file = tmp_path / "linux.deb"
    file.write_bytes(made.package({"./lib/modules/" + "a/" * 2000 + "b": b""}))
    with pytest.raises(UsageError, match="a file in it is more than 64 directories deep"):
        find(file)


def test_many_empty_files_take_room_too(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million of them would be a small package."""
    monkeypatch.setattr(image, "UNPACKED_MAX", 1 << 20)
    file = tmp_path / "linux.deb"
    file.write_bytes(made.package({f"./lib/modules/{number}": b"" for number in range(300)}))
    with pytest.raises(UsageError, match="unpacks to more than 1 MiB"):
        find(file)


def test_a_package_of_zstd_that_is_damaged(tmp_path: Path, cache: Path) -> None:
    """Its library raises an error of its own."""
    whole = made.package({"./usr/x": bytes(range(256)) * 100}, "zst")
    file = tmp_path / "linux.deb"
    at = whole.index(b"\x28\xb5\x2f\xfd")
    for damaged in (whole[:at] + b"\x28\xb5\x2f\xfd\xff\xff" + whole[at + 6 :], whole[:at] + b"x" * 300):
        file.write_bytes(damaged)
        with pytest.raises(UsageError, match="is no Debian package, or a damaged one"):
            find(file)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Its writer may never come."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is not a regular file; name the kernel's image"):
        find(tmp_path / "pipe")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stands where the directory would be."""
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "file").write_bytes(made.package(KERNEL | MODULES))
    with pytest.raises(UsageError, match=r"cannot be written .*; set XDG_CACHE_HOME"):
        find(tmp_path / "file")
