"""A compiled file that is damaged is named in a line; it is no interruption, and nothing found."""

from __future__ import annotations

import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ksmactors
from ksmactors.bytecode import damaged_bytecode
from ksmactors.cli import main

PACKAGE = Path(ksmactors.__file__).parent


def damage(source: Path, content: bytes | None = None) -> Path:
    """Compile a file, and cut the compiled one off, or give it another content."""
    compiled = Path(py_compile.compile(str(source), doraise=True) or "")
    whole = compiled.read_bytes()
    compiled.write_bytes(whole[:-8] if content is None else whole[:16] + content)
    return compiled


@pytest.mark.parametrize("content", [None, b"\x7f", b"N"], ids=["cut off", "no type", "no code"])
def test_a_plug_in_that_is_damaged_is_named(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module that a workload imports is named with the file to delete."""
    (tmp_path / f"damaged_{len(content or b'')}x{content == b'N'}.py").write_text("x = 1\n")
    (helper,) = tmp_path.iterdir()
    compiled = damage(helper, content)
    (tmp_path / "plugged.py").write_text(f"import {helper.stem}\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert main(["run", f"{tmp_path}/plugged.py:W"]) == 2

    assert capsys.readouterr().err == (
        f"ksmactors: workload {tmp_path}/plugged.py:W cannot be loaded: the compiled file {compiled} is damaged; "
        "delete it, and Python makes a new one\n"
    )


@pytest.mark.parametrize("module", ["cli/stress", "cli/__init__", "garbage"])
def test_a_file_of_ours_that_is_damaged_is_named(module: str, tmp_path: Path) -> None:
    """So is one of ksmactors itself, while a command is imported and before."""
    shutil.copytree(PACKAGE, tmp_path / "ksmactors", ignore=shutil.ignore_patterns("__pycache__"))
    compiled = damage(tmp_path / "ksmactors" / f"{module}.py")

    done = subprocess.run(
        [sys.executable, "-m", "ksmactors", "stress"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 3
    assert done.stderr == f"ksmactors: the compiled file {compiled} is damaged; delete it, and Python makes a new one\n"


def test_another_end_of_file_is_not_taken_for_one() -> None:
    """An exception that was not raised while a compiled file was read is something else."""
    with pytest.raises(EOFError) as caught:
        raise EOFError("marshal data too short")
    assert damaged_bytecode(caught.value) == ""
    assert damaged_bytecode(EOFError()) == ""
