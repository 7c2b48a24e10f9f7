"""How the tests of programs compile them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

STRICT: Final = ("gcc", "-Wall", "-Wextra", "-Werror")

BOTH: Final = [False, pytest.param(True, marks=pytest.mark.nightly)]
"""Whether programs are optimised. That takes most of a test's time, and warns of what depends on several functions.
`test_every_operation_that_a_program_can_do_compiles` and `test_racers_are_at_work_at_the_same_time_in_every_round` do
it by default, for the functions that all programs are made of."""


def compiled(text: str, directory: Path, *, optimised: bool) -> Path:
    """Compile a program, without a warning. Only an optimised one is linked, and can run."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    source, program = directory / "program.c", directory / "program"
    source.write_text(text)
    line = [*STRICT, *(["-O2"] if optimised else ["-O0", "-S"]), "-o", str(program), str(source)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program
