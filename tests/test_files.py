"""Files: bounds, types, and that a file is there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ksmactors.errors import UsageError
from ksmactors.escaping import escaped, escaped_lines
from ksmactors.files import read_bounded, write_atomically, write_new


def test_a_file_within_the_bound_is_read(tmp_path: Path) -> None:
    """As many bytes as the limit are read."""
    (tmp_path / "f").write_bytes(b"abc")
    assert read_bounded(tmp_path / "f", 3, "log") == b"abc"


@pytest.mark.parametrize("name", ["/dev/zero", "/proc/self/mem", "/proc", "/nowhere/at/all", "a\0b"])
def test_what_is_no_file_is_refused(name: str) -> None:
    """Devices, directories, special files and absent ones: one message, which names the file's part."""
    with pytest.raises(UsageError, match=r"^log "):
        read_bounded(name, 100, "log")


def test_a_pipe_without_a_writer_is_refused_at_once(tmp_path: Path) -> None:
    """Nothing waits for a writer that never comes."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is not a regular file"):
        read_bounded(tmp_path / "pipe", 100, "log")


def test_a_larger_file_is_refused(tmp_path: Path) -> None:
    """One byte more than the limit is too much."""
    (tmp_path / "f").write_bytes(b"abcd")
    with pytest.raises(UsageError, match="larger than"):
        read_bounded(tmp_path / "f", 3, "log")


def test_a_new_file_replaces_nothing(tmp_path: Path) -> None:
    """Neither a file nor a symbolic link of that name is touched, and no temporary file stays."""
    target = tmp_path / "target"
    target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("target", "link"):
        with pytest.raises(FileExistsError):
            write_new(tmp_path / name, b"new")
    write_new(tmp_path / "fresh", b"new")
    assert target.read_bytes() == b"old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["fresh", "link", "target"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """The file that a symbolic link names stays as it was."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"old")
    (tmp_path / "state").symlink_to(precious)
    write_atomically(tmp_path / "state", b"new")
    assert (precious.read_bytes(), (tmp_path / "state").read_bytes()) == (b"old", b"new")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves neither half a file nor a temporary one."""
    state = tmp_path / "state"
    write_atomically(state, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(state, b"new")
    assert (state.read_bytes(), len(list(tmp_path.iterdir()))) == (b"old", 1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 字", "plain äöü 字"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_a_terminal_would_perform_is_shown(text: str, shown: str) -> None:
    """C0, C1, OSC, bidirectional controls and lone surrogates are escaped; letters of any language are not."""
    assert escaped(text) == shown
    assert escaped_lines("one\n\ttwo\x1b") == "one\n\ttwo\\x1b"
