"""The programs that `reproduce` writes, compiled and run on a real kernel in a virtual machine.

Needs what `test_guest` needs, and gcc. Each program has a boot of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from ksmactors.cli import main
from ksmactors.guest import boot
from ksmactors.guest.console import crash
from ksmactors.guest.image import find

pytestmark = [pytest.mark.guest, pytest.mark.timeout(1800)]

INSIDE = (
    "import os; from pathlib import Path; from ksmactors.guest.inside import prepare; "
    "from ksmactors.guest.own_machine import OwnMachine; prepare(); OwnMachine(Path({modules!r})); "
    "os.execv({program!r}, [{program!r}])"
)


def run_on_guest(kernel: str, source: str, directory: Path) -> tuple[str, str]:
    """Compile the program of a case or scenario and run it on a guest: (what it printed, the console)."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    text, program = directory / "reproduce.c", directory / "reproduce"
    assert main(["reproduce", source, "--c", str(text)]) == 0
    subprocess.run(["gcc", "-O2", "-o", str(program), str(text)], check=True)
    image = find(Path(kernel))
    words = boot.command_line(image, 2, kvm=boot.kvm_works(), stub=directory / "stub")
    words[-1] = boot.python(INSIDE.format(modules=str(image.modules), program=str(program)))
    with TemporaryFile() as console:
        guest = boot.start(words, console, directory)
        try:
            assert guest.stdout is not None
            printed = guest.stdout.read().decode()
        finally:
            boot.end(guest)
        console.seek(0)
        said = console.read().decode(errors="replace")
    sys.stdout.write(f"{source}:\n{printed}")
    return printed, said


@pytest.mark.parametrize("case", ["H4b", "H5", "H7", "H8", "lost-while-full", "unshare-on-advice"])
def test_a_program_shows_its_defect(kernel: str, case: str, tmp_path: Path) -> None:
    """All observations are those of a kernel with the defect: no stock kernel has the repairs."""
    printed, said = run_on_guest(kernel, case, tmp_path)
    assert "\nDEFECT: all" in printed, printed + said[-2000:]


def test_a_kernel_that_crashes_says_so(kernel: str, tmp_path: Path) -> None:
    """H2: the program announces the crash, and a guest ends with it."""
    printed, said = run_on_guest(kernel, "H2", tmp_path)
    assert printed.splitlines()[-1] == "A kernel with the defect may crash now."
    assert "NULL dereference in down_read" in crash(said)


def test_a_kernel_that_does_what_is_expected_is_not_accused(kernel: str, tmp_path: Path) -> None:
    """A scenario without a defect: the program says that all is the same."""
    scenario = Path(__file__).parents[1] / "conformance" / "scenarios" / "01_merge2.txt"
    printed, _ = run_on_guest(kernel, str(scenario), tmp_path)
    assert printed.splitlines()[-1].startswith("SAME: ")
