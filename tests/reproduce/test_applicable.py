"""For which kernels a defect is reproduced, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksmactors.cli import main

SINCE_6_1 = "with --kernel v6.1, v6.12, v6.18 or v7.3\n"
SINCE_6_12 = "with --kernel v6.12, v6.18 or v7.3\n"
ALL = "with --kernel v3.9, v6.1, v6.12, v6.18 or v7.3\n"


@pytest.mark.parametrize(
    ("case", "kernel", "why", "where"),
    [
        ("X8", "v3.9", "v3.9 has no lazy-free, which the repair is for", SINCE_6_1),
        ("X8", "series", "series has no lazy-free, which the repair is for", SINCE_6_1),
        ("lost-while-full", "v3.9", "v3.9 has no chains, which the repair is for", SINCE_6_1),
        ("X2", "v6.1", "v6.1 has no smart-scan, which the repair is for", SINCE_6_12),
        ("H2", "series", "series has the repair (all-unstable-roots)", ALL),
        ("H1", "v3.9", "with its scenario, v3.9 shows the same with and without the repair (kpfn-aba)", SINCE_6_12),
    ],
)
def test_a_kernel_without_the_defect_is_refused(
    case: str, kernel: str, why: str, where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says why, and for which kernels it can be; nothing is written."""
    mail = tmp_path / "mail"
    assert main(["reproduce", case, "--kernel", kernel, "--report", str(mail)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"ksmactors: case {case} cannot be reproduced for {kernel}: {why}; it can be reproduced {where}"
    assert not mail.exists()


@pytest.mark.parametrize(("case", "kernels"), [("X8", 4), ("lost-while-full", 4), ("X2", 3), ("H7", 5)])
def test_it_is_reproduced_for_the_kernels_that_are_named(
    case: str, kernels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The refusal names just those for which there is a program."""
    done = 0
    for kernel in ("series", "v3.9", "v6.1", "v6.12", "v6.18", "v7.3"):
        done += main(["reproduce", case, "--kernel", kernel]) == 0
        said = capsys.readouterr()
        assert bool(said.out) == (not said.err)
    assert done == kernels


def test_a_repair_that_brings_what_the_kernel_lacks_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where a scenario and its repair are named: the two kernels would differ by the feature."""
    scenario = tmp_path / "s.txt"
    scenario.write_text("proc A\nmap A r 1\nfill A r 0 7\nfree A r\n")
    assert main(["reproduce", str(scenario), "--kernel", "v3.9", "--repair", "no-ksm-given-up"]) == 2
    assert "v3.9 has no lazy-free, which the repair is for; nor does any other kernel" in capsys.readouterr().err


def test_a_case_is_found_in_any_case_of_letters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless there is a file of that name."""
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "x8"]) == 0
    found = capsys.readouterr().out
    assert main(["reproduce", "X8"]) == 0
    assert capsys.readouterr().out == found

    (tmp_path / "x8").write_text("proc A\nnonsense\n")
    assert main(["reproduce", "x8"]) == 2
    assert "x8:2: unknown operation 'nonsense'" in capsys.readouterr().err
