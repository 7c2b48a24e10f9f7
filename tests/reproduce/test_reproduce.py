"""`ksmactors reproduce`: programs that compile, say what they must, and refuse what no program can do."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from ksmactors import interruption
from ksmactors.cli import main
from ksmactors.conformance.emulator import Setting
from ksmactors.conformance.language import Operation, parse
from ksmactors.diagnose import scenario_text
from ksmactors.errors import UsageError
from ksmactors.reproduce.names import Names
from ksmactors.reproduce.prediction import Prediction, predict
from ksmactors.reproduce.program import HELPERS, Purpose, write_program
from ksmactors.reproduce.steps import NOT_IN_C
from ksmactors.reproduce.subject import cases_with_scenario, of_case
from tests.reproduce.compiling import BOTH, compiled

CONFORMANCE = Path(__file__).parents[1] / "conformance"
PURPOSE = Purpose("a title", "Linux v7.3", "Linux v7.3 with a repair")
PROCESS = "proc A\nmap A r 2\nfillrange A r 0 2 7\nmergeable A r\nset run 1\nscan 3\n"
"""Two equal pages of a process, merged."""


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run the command, which must refuse in one line; return it."""
    assert main(["reproduce", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ksmactors: ")
    assert printed.err.count("\n") == 1
    return printed.err


def written(tmp_path: Path, text: str) -> str:
    """Write a scenario; return its path."""
    file = tmp_path / "one.txt"
    file.write_text(text)
    return str(file)


def program(text: str, prediction: Prediction | None = None, *repair: str) -> str:
    """Return the program of a scenario."""
    scenario = parse(text)

    async def task() -> Prediction:
        return await predict(scenario, Setting("v7.3"), repair)

    return write_program(scenario, prediction or interruption.run(task), PURPOSE)


@pytest.mark.parametrize("optimised", BOTH)
@pytest.mark.parametrize("case", cases_with_scenario())
def test_a_program_of_a_case_compiles(
    case: str, optimised: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It uses all that it has, tells the kernels apart, and says first what it needs."""
    assert main(["reproduce", case]) == 0
    text = capsys.readouterr().out
    subject = of_case(case)
    assert subject is not None
    assert subject.title in " ".join(text.replace(" *", "").split())
    assert "Needs root" in text
    assert any(call in text.partition("enum")[2] for call in ("\texpect(", "verdict_alive();", "\tsee("))
    compiled(text, tmp_path, optimised=optimised)


@pytest.mark.parametrize("optimised", BOTH)
@pytest.mark.parametrize("name", ["01_merge2", "06_cow_break_remerge", "16_fork_chain", "40_mremap_unmerges",
                                  "53_man1_both_nodes", "81_swap_pageout", "90_fuzz1_03"])  # fmt: skip
def test_a_program_of_an_ordinary_scenario_compiles(
    name: str, optimised: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a repair it compares with what the emulated kernel does."""
    assert main(["reproduce", str(CONFORMANCE / "scenarios" / f"{name}.txt")]) == 0
    text = capsys.readouterr().out
    assert "expect_value(" in text.partition("int main")[2]
    compiled(text, tmp_path, optimised=optimised)


def test_every_operation_that_a_program_can_do_compiles(tmp_path: Path) -> None:
    """Also what no case uses: locks, reads by another process, frames, status, and waiting."""
    text = program(
        PROCESS + "mlock A r\nmunlock A r 0 1\nprocess_vm_readv A r\nfree A r 1 2\ndontneed A r 1 2\nsleep 1\nstep 3\n"
        "fork A long_name\nmremap long_name r m\nfillseq long_name m 0 2 300\ncheckseq long_name m 0 2 300\n"
        "unmergeable A r\nframes\nprocstat A\nget run\nset pages_to_scan 7\nmunmap A r\ntrees\ncounters\n"
    )
    for call in ("lock_pages", "unlock_pages", "read_remotely", "one_frame", "ksm_stat", "unmap", "usleep"):
        assert f"{call}(" in text.partition("int main")[2]
    compiled(text, tmp_path, optimised=True)


def test_only_helpers_that_are_needed_are_written() -> None:
    """A program that moves no page has nothing about nodes."""
    text = program(PROCESS + "counters\n")
    for absent in ("long move_page", "node_of", "pin(", "reclaim", "mbind", "has_swap", "wrong_pages"):
        assert absent not in text


def test_a_program_expects_what_the_emulator_says() -> None:
    """Both values of what tells the kernels apart; what is the same on both is not looked at."""
    text = program(
        "requires nodes 2\nproc A\nmap A r 2 node 0\nfillrange A r 0 2 7\nfork A B\nmergeable B r\nset run 1\nscan 3\n"
        "counters\nmigrate B r 0 1\n", None, "unshare-on-advice",
    )  # fmt: skip
    steps = text.partition("int main")[2]
    assert "move_page(B, B_r, 1, MPOL_MF_MOVE_ALL), 1, 0);" in steps
    assert steps.count("expect(") == 1


def test_what_follows_the_last_observation_is_left_out() -> None:
    """It could show nothing any more."""
    assert "munmap" not in program(PROCESS + "counters\nmunmap A r\nscan 1\n").partition("int main")[2]


def test_a_crash_is_announced_before_it_happens() -> None:
    """The operation at which the emulator stops has the note, and the steps of ksmd go on."""
    subject = of_case("H2")
    assert subject is not None
    prediction = interruption.run(lambda: predict(subject.scenario, Setting("v7.3"), subject.repair))
    steps = write_program(subject.scenario, prediction, PURPOSE).partition("int main")[2]
    assert "crash now" in steps
    assert steps.index("crash now") < steps.rindex("steps(") < steps.index("verdict_alive")


def test_names_in_c_are_free() -> None:
    """A keyword, a longer name, and a region that comes again somewhere else get names of their own."""
    names = Names()
    for process in ("A", "int", "MAIN"):
        names.begin(process)
    first = names.add(Operation("map", 1, "", "A", word="r"), 2)
    again = names.add(Operation("map", 2, "", "A", word="r"), 2)
    assert (names.process("A"), names.process("int"), names.process("MAIN")) == ("A", "proc_int", "proc_MAIN")
    assert first == "A_r"
    assert again == "A_r_2"


@pytest.mark.parametrize(("case", "kernels", "place"), [
    ("H2", "6.1, 6.12, 6.18, 7.3", "scan_get_next_rmap_item() in mm/ksm.c"),
    ("H9", "6.1, 6.12, 6.18, 7.3", "sys_madvise() in mm/madvise.c"),
    ("X8", "6.18", "mm/"),
])  # fmt: skip
def test_a_mail_has_what_a_list_expects(case: str, kernels: str, place: str, tmp_path: Path) -> None:
    """What, which kernels, which source, the repair, the program; prose of at most 75 columns."""
    file = tmp_path / "mail.txt"
    assert main(["reproduce", case, "--report", str(file), "-q"]) == 0
    prose, _, code = file.read_text().partition("Reproducer")
    subject = of_case(case)
    assert subject is not None
    assert prose.startswith(f"Subject: [BUG] mm/ksm: {subject.title}\n")
    flat = " ".join(prose.split())
    for wanted in (f"stock kernels of Linux {kernels}", place, f"repair ({subject.repair[0]}"):
        assert wanted in flat
    assert all(len(line) <= 75 for line in prose.splitlines()[1:])
    assert "int main(void)" in code


def test_what_cannot_be_reproduced_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, with what there is or what to do instead."""
    assert "cases with a program: " in refused(capsys, "nope")
    assert "cases with a program: H1, " in refused(capsys, "h-2")
    assert "ksmactors corpus S5a" in refused(capsys, "S5a")
    assert "no operation in it" in refused(capsys, written(tmp_path, "# nothing\n"))
    assert "cannot see a difference" in refused(capsys, written(tmp_path, PROCESS), "--repair", "half-ksm")
    assert "nonesuch" in refused(capsys, written(tmp_path, PROCESS), "--repair", "nonesuch")
    assert "no kernel" in refused(capsys, "H7", "--kernel", "v0.1")
    assert "regular file" in refused(capsys, "/dev/zero")
    fails = refused(capsys, written(tmp_path, PROCESS + "munmap A r 0 1\nfill A r 0 1\ncounters\n"))
    assert "one.txt:8: a C program cannot do 'fill A r 0 1', which fails" in fails


def test_a_mail_about_no_known_defect_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A scenario without a repair: its mail reports no bug, and the command says what would make it a report."""
    file = tmp_path / "mail.txt"
    assert main(["reproduce", written(tmp_path, PROCESS + "counters\n"), "--report", str(file)]) == 0
    text = file.read_text()
    assert text.startswith("Subject: mm/ksm: what a kernel does in the scenario one\n")
    assert "[BUG]" not in text
    assert "No defect is known" in text
    assert "--repair NAME" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(NOT_IN_C))
def test_operations_that_no_program_has_are_refused(name: str) -> None:
    """By name and line, with the reason."""
    words = {
        "exec": "exec A", "prctl": "prctl A on", "offline": "offline A r 0", "online": "online",
        "hwpoison": "hwpoison A r 0", "softoffline": "softoffline A r 0",
    }  # fmt: skip
    with pytest.raises(UsageError, match=rf"scenario:7: a C program cannot do {name}: "):
        program(f"{PROCESS}{words[name]}\ncounters\n")


def test_outputs_are_not_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An existing file, a missing folder, a device, and one file for both."""
    file = tmp_path / "out.c"
    file.write_text("mine")
    assert "give --force" in refused(capsys, "H7", "--c", str(file))
    assert file.read_text() == "mine"
    assert "there is no directory" in refused(capsys, "H7", "--report", str(tmp_path / "none" / "mail"))
    assert "not a regular file" in refused(capsys, "H7", "--c", "/dev/full")
    assert "same file" in refused(capsys, "H7", "--c", "x", "--report", "x")
    assert main(["reproduce", "H7", "--c", str(file), "--force", "-q"]) == 0
    assert "int main" in file.read_text()
    if os.geteuid() != 0:
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        assert "cannot be written" in refused(capsys, "H7", "--c", str(tmp_path / "new.c"))


def test_the_same_program_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    """To the byte."""
    texts = set()
    for _ in range(2):
        assert main(["reproduce", "lost-while-full"]) == 0
        texts.add(capsys.readouterr().out)
    assert len(texts) == 1


def test_a_hostile_scenario_writes_no_code_of_its_own(tmp_path: Path) -> None:
    """Neither a comment that ends the comment, nor a value that ends the string."""
    text = program("# one */ int evil; /* two\n" + PROCESS + 'set run 0");evil();("\nset run \\\ncounters\n')
    code = text.partition("*/")[2]
    assert "int evil" not in code
    assert code.count("evil()") == code.count("0\\042);evil();(\\042")
    compiled(text, tmp_path, optimised=False)


FINDINGS = {
    "advice": (0, "litmus.advice_meets_scan", "--without", "unshare-on-advice"),
    "full": (0, "litmus.full_page_meets_migration", "--kernel", "v6.12"),
    "race": (0, "litmus.search_meets_exit", "--without", "restart-on-stale"),
    "H4": (15, "litmus.unmerge_meets_fault", "--kernel", "v6.12"),
    "H8": (2, "litmus.mremap_meets_reclaim", "--without", "break-swapped"),
    "warning": (4, "litmus.unmerge_meets_exit", "--without", "no-warning"),
    "undone": (18, "litmus.search_meets_migration", "--with", "s5e-no-lock-cycle"),
}
"""The first seed that finds it, and what is run."""


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scenario that does not lead to a finding as it is, is tried around a few times only."""
    monkeypatch.setattr(scenario_text, "SEEDS", 3)


def finding(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Find something; return the finding's file."""
    seed, *what = FINDINGS[name]
    line = ["stress", *map(str, what), "--seeds", f"{seed}:{seed + 1}", "--jobs", "1", "--out", str(tmp_path), "-q"]
    assert main(line) == 1
    capsys.readouterr()
    (file,) = tmp_path.glob("*.json")
    return str(file)


@pytest.mark.parametrize("name", ["advice", "full"])
def test_a_finding_whose_calls_suffice_has_a_program(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its calls are made one after the other; in the end the pages cannot be moved."""
    file = finding(name, tmp_path, capsys)
    assert main(["reproduce", file]) == 0
    text = capsys.readouterr().out
    assert "expect(" in text.partition("int main")[2]
    assert "move_page(" in text
    compiled(text, tmp_path, optimised=False)


@pytest.mark.usefixtures("_few")
@pytest.mark.slow
@pytest.mark.parametrize(("case", "is_race"), [("H4", True), ("H8", False)])
def test_a_finding_that_is_a_race_has_the_program_of_its_case(
    case: str, is_race: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own scenario does not lead to it, and the case that it is of has one; that is said."""
    file = finding(case, tmp_path, capsys)
    assert main(["reproduce", file]) == 0
    out, err = capsys.readouterr()
    assert err.endswith(f"only as a race; this is the program of the case that it is of, {case}\n")
    assert ("if (race(" in out) == is_race
    assert main(["reproduce", case]) == 0
    assert capsys.readouterr().out == out  # which compiles: test_a_program_of_a_case_compiles


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("race", "only as a race, and the scenario written for it does not"),
        ("warning", "case G9 cannot be reproduced for v7.3: v7.3 has the repair (no-warning)"),
        ("undone", "s5e-no-lock-cycle (mutant)"),
    ],
)
def test_a_finding_that_no_program_can_show_is_refused(
    name: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A race that its scenario does not lead to, one that leaves nothing to see, and what only a mutant does."""
    assert why in refused(capsys, finding(name, tmp_path, capsys))


def test_a_damaged_finding_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, as `replay` does."""
    refused(capsys, written(tmp_path, "{\n"))


SHIM = """
#include <stdio.h>
#include <stdlib.h>
struct { int seen, broken, repaired; } counted, *shared = &counted;
static void restore(void) { printf("put back\\n"); }
"""

MAIN = """
int main(int argc, char **argv)
{
	(void)shared;
	if (argc != 4)
		return 99;
	counted.seen = atoi(argv[1]);
	counted.broken = atoi(argv[2]);
	counted.repaired = atoi(argv[3]);
	%s();
}
"""
"""Counts what the command line says."""


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile a program that counts and says what it has counted with a helper: once for each helper."""

    @cache
    def program(helper: str) -> Path:
        if shutil.which("gcc") is None:
            pytest.skip("there is no gcc")
        (code,) = re.findall(rf"(?ms)^//: {helper}$(.*?^}})", HELPERS.read_text())
        directory = tmp_path_factory.mktemp(helper)
        (directory / "verdict.c").write_text(f"{SHIM}{code}\n{MAIN % helper}")
        subprocess.run(["gcc", "-o", "verdict", "verdict.c"], cwd=directory, check=True)
        return directory / "verdict"

    return program


@pytest.mark.parametrize(
    ("helper", "counted", "last", "status"),
    [
        ("verdict", (3, 3, 0), "DEFECT: all 3 observations are those of a kernel with the defect", 1),
        ("verdict", (3, 0, 3), "NO DEFECT: all 3 observations are those of a repaired kernel", 0),
        ("verdict", (3, 2, 1), "UNCLEAR: of 3 observations 2 say defect, and 1 say no defect", 4),
        ("verdict", (3, 2, 0), "UNCLEAR: of 3 observations 2 say defect, and 0 say no defect", 4),
        ("verdict_values", (3, 0, 3), "SAME: 3 of 3 observations are as expected", 0),
        ("verdict_values", (3, 0, 2), "DIFFERENT: 2 of 3 observations are as expected", 1),
        ("verdict_alive", (0, 0, 0), "NO DEFECT: ksmd has done all steps and is alive", 0),
    ],
)
def test_a_program_says_what_it_has_counted(
    helper: str, counted: tuple[int, int, int], last: str, status: int, counting: Callable[[str], Path]
) -> None:
    """The knobs are put back first, and the exit status is the documented one."""
    ran = subprocess.run([str(counting(helper)), *map(str, counted)], check=False, capture_output=True, text=True)
    assert (ran.stdout, ran.returncode) == (f"put back\n{last}\n", status)
