"""The programs that `reproduce` writes, compiled and run on a real kernel in a virtual machine.

Needs what `test_guest` needs, and gcc. Each program has a boot of its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import pytest

from ksmactors.cli import main
from ksmactors.guest import boot
from ksmactors.guest.console import crash
from ksmactors.guest.image import find

RunOnGuest = Callable[..., tuple[str, str]]

pytestmark = [pytest.mark.guest, pytest.mark.timeout(1800)]

INSIDE = (
    "import os, subprocess; from pathlib import Path; from ksmactors.guest.inside import prepare, take_ports; "
    "from ksmactors.guest.own_machine import OwnMachine; os.isatty(0) and take_ports(); prepare(); "
    "OwnMachine(Path({modules!r})); "
    "[os.write(1, b'exit status %d\\n' % subprocess.run([program, *{arguments!r}]).returncode) "
    "for program in {programs!r}]"
)

EDITS = {
    "H4b": ('\tif (turn(MAIN))\n\t\treclaim("64M");\n', "", "NO DEFECT"),
    "H5": ("fill(E_r, 1, 3UL, 0);", "fill(E_r, 1, 5UL, 0);", "NO DEFECT"),
    "H7": ("pin(0, T_r);", ";", "NO DEFECT"),
    "H8": ('\tif (turn(MAIN))\n\t\treclaim("64M");\n', "", "NO DEFECT"),
    "lost-while-full": ('"max_page_sharing", "2"', '"max_page_sharing", "256"', "UNCLEAR"),
    "unshare-on-advice": (
        "\tif (turn(B))\n",
        '\tif (turn(A))\n\t\tmust(advise(A_r, 2, MADV_MERGEABLE), "A");\n\tif (turn(B))\n',
        "NO DEFECT",
    ),
    "X2": ('"smart_scan", "1"', '"smart_scan", "0"', "NO DEFECT"),
}  # fmt: skip
"""For each case a change of its program that takes away what the defect needs, and the verdict then."""


def compiled(source: str, directory: Path, edit: tuple[str, str] | None = None) -> Path:
    """Compile the program of a case or scenario, changed in one place or as it is."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    text, program = directory / f"{Path(source).stem}.c", directory / Path(source).stem
    assert main(["reproduce", source, "--c", str(text)]) == 0
    if edit is not None:
        code = text.read_text()
        assert code.count(edit[0]) >= 1, f"{source}: its program does not have {edit[0]!r} any more"
        text.write_text(code.replace(*edit, 1))
    subprocess.run(["gcc", "-O2", "-Wno-unused-function", "-o", str(program), str(text)], check=True)
    return program


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory that guests see: they have this machine's root file system, and nothing that is mounted on it."""
    with TemporaryDirectory(prefix="ksmactors-test-") as directory:
        yield Path(directory)


@pytest.fixture
def run_on_guest(kernel: str, kvm: bool, tmp_path: Path) -> RunOnGuest:
    """A function that runs programs one after the other on a guest: (what they printed, the console)."""
    return partial(_run_on_guest, kernel, kvm, tmp_path)


def _run_on_guest(kernel: str, kvm: bool, directory: Path, programs: list[Path], *arguments: str) -> tuple[str, str]:
    image = find(Path(kernel))
    words = boot.command_line(image, 2, kvm=kvm, stub=directory / "stub")
    names = [str(program) for program in programs]
    words[-1] = boot.python(INSIDE.format(modules=str(image.modules), programs=names, arguments=arguments))
    with TemporaryFile() as console:
        guest = boot.start(words, console, directory)
        try:
            assert guest.stdout is not None
            printed = guest.stdout.read().decode()
        finally:
            boot.end(guest)
        console.seek(0)
        said = console.read().decode(errors="replace")
    sys.stdout.write(printed)
    return printed, said


@pytest.mark.parametrize("case", ["H4b", "H5", "H7", "H8", "lost-while-full", "unshare-on-advice", "X2"])
def test_a_program_shows_its_defect(run_on_guest: RunOnGuest, case: str, tmp_path: Path) -> None:
    """All observations are those of a kernel with the defect: no stock kernel has the repairs."""
    printed, said = run_on_guest([compiled(case, tmp_path)])
    assert "\nDEFECT: all" in printed, printed + said[-2000:]


def test_a_kernel_that_crashes_says_so(run_on_guest: RunOnGuest, tmp_path: Path) -> None:
    """H2: the program announces the crash, and a guest ends with it."""
    printed, said = run_on_guest([compiled("H2", tmp_path)])
    assert printed.splitlines()[-1] == "A kernel with the defect may crash now."
    assert "NULL dereference in down_read" in crash(said)


def test_a_kernel_that_does_what_is_expected_is_not_accused(run_on_guest: RunOnGuest, tmp_path: Path) -> None:
    """A scenario without a defect: the program says that all is the same."""
    scenario = Path(__file__).parents[1] / "conformance" / "scenarios" / "01_merge2.txt"
    printed, _ = run_on_guest([compiled(str(scenario), tmp_path)])
    assert printed.splitlines()[-2].startswith("SAME: ")


def test_a_program_accuses_no_kernel_without_its_defect(run_on_guest: RunOnGuest, tmp_path: Path) -> None:
    """What the defect needs is taken out of each program: then it says NO DEFECT, or UNCLEAR if other things differ."""
    programs = [compiled(case, tmp_path, (old, new)) for case, (old, new, _) in EDITS.items()]
    printed, said = run_on_guest(programs)
    lines = printed.splitlines()
    verdicts = [(before.split(":")[0], status) for before, status in pairwise(lines) if "exit status" in status]
    statuses = {"NO DEFECT": "exit status 0", "UNCLEAR": "exit status 4"}
    assert verdicts == [(verdict, statuses[verdict]) for _, _, verdict in EDITS.values()], printed + said[-2000:]


def test_a_race_is_left_to_chance(run_on_guest: RunOnGuest, tmp_path: Path) -> None:
    """Programs of scenarios with holds repeat them for as long as they are told, and say how often they were met."""
    races = Path(__file__).parents[1] / "conformance" / "races" / "scenarios"
    programs = [compiled(str(races / f"{name}.txt"), tmp_path) for name in ("r05_search_meets_migration_before_kpfn",
                                                                           "r23_exit_during_scan")]  # fmt: skip
    printed, said = run_on_guest([*programs, compiled("H1", tmp_path)], "10")
    lines = printed.splitlines()
    verdicts = [before for before, status in pairwise(lines) if "exit status" in status]
    assert len(verdicts) == 3, printed + said[-2000:]
    assert all(re.match(r"(MET: \d+ of|not met in|DEFECT: \d+ of|no defect in) [1-9]\d* rounds in 10 s", one)
               for one in verdicts)  # fmt: skip
    assert [status for status in lines if "exit status" in status][:2] == ["exit status 0"] * 2
