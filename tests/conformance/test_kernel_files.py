"""Files of /proc and /sys, read and written without a layer between."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ksmactors.conformance.kernel_files import CHUNK, read_text, write_text


def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    """However many reads that takes; an empty one, too."""
    file = tmp_path / "file"
    for text in ("", "12\n", "ä" * CHUNK):
        file.write_text(text, encoding="utf-8")
        assert read_text(str(file)) == text


def test_a_file_of_proc_is_read() -> None:
    """Its size is 0 before it is read."""
    assert read_text("/proc/self/stat").split()[1].startswith("(")


def test_a_knob_is_written(tmp_path: Path) -> None:
    """A file that is there; none is made."""
    knob = tmp_path / "knob"
    with pytest.raises(OSError, match="No such file") as refused:
        write_text(str(knob), "1")
    assert refused.value.errno == errno.ENOENT
    assert not knob.exists()

    knob.write_text("0")
    write_text(str(knob), "1")
    assert knob.read_text() == "1"
