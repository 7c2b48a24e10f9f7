"""Files: bounds, types, and that a file is there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from ksmactors.errors import UsageError
from ksmactors.escaping import escaped, escaped_json, escaped_lines
from ksmactors.files import (
    append,
    make_private,
    read_bounded,
    read_start,
    read_text,
    replacing,
    write_atomically,
    write_new,
)


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


class TestWithoutHardLinks:
    """A file system such as FAT, where a new name for a file cannot be made."""

    @pytest.fixture(autouse=True)
    def _no_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr("os.link", refuse)

    def test_a_file_is_written_all_the_same(self, tmp_path: Path) -> None:
        """Under its own name, exclusively; the temporary file is gone."""
        write_new(tmp_path / "new", b"content")

        assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("new", b"content")]

    def test_nothing_is_replaced_or_followed(self, tmp_path: Path) -> None:
        """A file or a link of that name stays, and so does what the link names."""
        (tmp_path / "old").write_text("old")
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

        for name in ("old", "link"):
            with pytest.raises(FileExistsError):
                write_new(tmp_path / name, b"new")
        assert (tmp_path / "old").read_text() == "old"
        assert not (tmp_path / "elsewhere").exists()

    def test_a_full_disk_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the second writing fails, no part of a file is left."""
        done: list[int] = []

        def fsync(fd: int) -> None:
            done.append(fd)
            if len(done) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.fsync", fsync)
        with pytest.raises(OSError, match="No space left"):
            write_new(tmp_path / "new", b"content")
        assert list(tmp_path.iterdir()) == []


def test_adding_to_a_file(tmp_path: Path) -> None:
    """A file is made and grows; a link is not followed, and what is no regular file is not written."""
    append(tmp_path / "lines", b"1\n")
    append(tmp_path / "lines", b"2\n")
    assert (tmp_path / "lines").read_bytes() == b"1\n2\n"

    (tmp_path / "link").symlink_to(tmp_path / "lines")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError, match=r"link|regular|No such device"):
            append(tmp_path / name, b"3\n")
    assert (tmp_path / "lines").read_bytes() == b"1\n2\n"


def test_a_private_directory(tmp_path: Path) -> None:
    """What is made below the base is the owner's alone; the base, and what is there already, stay as they are."""
    base = tmp_path / "state"
    make_private(base / "a" / "b", base)
    make_private(base / "a" / "b", base)

    assert [stat.S_IMODE(path.stat().st_mode) for path in (base / "a", base / "a" / "b")] == [0o700, 0o700]
    assert stat.S_IMODE(base.stat().st_mode) != 0o700


def test_the_start_of_a_file(tmp_path: Path) -> None:
    """A larger file is cut off where it may be; a text must be one."""
    (tmp_path / "file").write_bytes(b"\xffabc")

    assert read_start(tmp_path / "file", 2, "image") == b"\xffa"
    with pytest.raises(UsageError, match=r"scenario .*file: is not UTF-8 text"):
        read_text(tmp_path / "file", 100, "scenario")


def test_json_stays_the_same() -> None:
    """What a terminal could perform is written out, as JSON does; whoever reads it gets the same texts."""
    texts = ["a\x7f\x85\x9b31m", "\u202e\u2028", "\U000e0041", "\n\t é €"]
    shown = escaped_json(json.dumps(texts, ensure_ascii=False, indent=2))

    assert json.loads(shown) == texts
    assert escaped_lines(shown) == shown
    assert "é €" in shown


def test_a_file_in_pieces_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """One that exists is replaced with force only; a block that fails leaves the old one, and nothing beside it."""
    path = tmp_path / "f"
    with replacing(path, force=False) as file:
        file.write(b"a")
        assert not path.exists()
        file.write(b"b")
    assert path.read_bytes() == b"ab"
    with pytest.raises(FileExistsError), replacing(path, force=False) as file:
        file.write(b"c")
    with pytest.raises(ZeroDivisionError), replacing(path, force=True) as file:
        file.write(bytes(1 // 0))
    assert path.read_bytes() == b"ab"
    with replacing(path, force=True) as file:
        file.write(b"d")
    assert path.read_bytes() == b"d"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_pieces_needs_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are none, it is renamed, still onto nothing that is there."""

    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    with replacing(tmp_path / "f", force=False) as file:
        file.write(b"a")
    with pytest.raises(FileExistsError), replacing(tmp_path / "f", force=False) as file:
        file.write(b"b")
    assert (tmp_path / "f").read_bytes() == b"a"
