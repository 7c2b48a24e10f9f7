"""Recordings: what is read from them, and what counts as a difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksmactors.conformance.recording import Recording, read_recording, recording_for, scenario_files
from ksmactors.errors import UsageError

HEAD = ("# scenario x", "# kernel 3.9.6", "# nodes 2", "# start shared=0")
STEP = (
    "> trace 1 trees",
    "= t1 shared=1",
    "=     stable.0 node=0 len=1: A.r.0",
    "> frames",
    "=   ksm n=1 node=0: A.r.0",
)


def recording(*lines: str, kernel: str = "3.9.6") -> Recording:
    return Recording(Path("x.out"), (*HEAD, *lines), kernel, 2)


def test_where_it_was_recorded_is_no_difference() -> None:
    """The lines about the kernel and the absolute counters at the start are left out."""
    performed = ("# scenario x", "# kernel ksmactors v3.9", "# nodes 2", "# start shared=5", *STEP)
    assert recording(*STEP).differences(performed, performer="here") == []


@pytest.mark.parametrize("index", range(len(STEP)))
def test_any_other_line_is(index: int) -> None:
    """Each result line counts, and the diff shows the recorded one with a minus."""
    changed = list(STEP)
    changed[index] += " changed"
    diff = recording(*STEP).differences((*HEAD, *changed), performer="here")
    assert diff[:2] == ["--- x.out", "+++ here"]
    assert f"-{STEP[index]}" in diff
    assert f"+{STEP[index]} changed" in diff


def test_the_number_of_nodes_is_compared() -> None:
    """A run on another machine is another run."""
    assert recording().differences((HEAD[0], HEAD[1], "# nodes 1", HEAD[3]), performer="here")


def test_structures_are_compared_only_where_they_were_recorded() -> None:
    """A recording without KSM's own structures says nothing about them; one with them says all."""
    without = [line for line in STEP if not line.startswith("=     ")]
    assert recording(*without).differences((*HEAD, *STEP), performer="here") == []
    assert recording(*STEP).differences((*HEAD, *without), performer="here")


@pytest.mark.parametrize(
    ("kernel", "name"),
    [("3.9.6", "v3.9"), ("3.10.108", "v3.9"), ("6.1.0-56-amd64", "v6.1"), ("6.12.117+deb12-amd64", "v6.12"),
     ("ksmactors v3.9", "v3.9"), ("ksmactors series --without x", "series")],
)  # fmt: skip
def test_a_version_names_the_kernel_to_emulate(kernel: str, name: str) -> None:
    """The first two numbers count."""
    assert name == recording(kernel=kernel).kernel_name


def test_a_kernel_without_version_is_refused() -> None:
    """Then --kernel must say which."""
    with pytest.raises(UsageError, match="--kernel"):
        _ = recording(kernel="mine").kernel_name


def test_the_head_of_a_recording_is_read(tmp_path: Path) -> None:
    """Kernel and nodes are taken from the comment lines."""
    path = tmp_path / "x.out"
    path.write_text("\n".join([*HEAD, *STEP]) + "\n")
    read = read_recording(path)
    assert ("3.9.6", 2, (*HEAD, *STEP)) == (read.kernel, read.nodes, read.lines)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"# kernel 3.9.6\n", b"# kernel 3.9.6\n# nodes many\n", b"\xff"])
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file without the head of a recording is named in one line."""
    path = tmp_path / "x.out"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.out: "):
        read_recording(path)


def test_directories_stand_for_their_scenarios_in_order(tmp_path: Path) -> None:
    """NAME.txt by name; other files are not taken."""
    for name in ("b.txt", "a.txt", "a.out", "notes.md"):
        (tmp_path / name).touch()
    assert [tmp_path / "a.txt", tmp_path / "b.txt"] == scenario_files([tmp_path])
    assert [tmp_path / "b.txt"] == scenario_files([tmp_path / "b.txt"])


def test_paths_that_hold_no_scenario_are_refused(tmp_path: Path) -> None:
    """A missing path and an empty directory are usage errors."""
    for path in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(UsageError, match=str(path)):
            scenario_files([path])


def test_the_recording_of_a_scenario_has_its_name(tmp_path: Path) -> None:
    """NAME.out in a directory, or the file that was given; None if the directory has none."""
    (tmp_path / "a.out").touch()
    assert tmp_path / "a.out" == recording_for(Path("somewhere/a.txt"), tmp_path)
    assert tmp_path / "a.out" == recording_for(Path("b.txt"), tmp_path / "a.out")
    assert recording_for(Path("b.txt"), tmp_path) is None
    with pytest.raises(UsageError, match="no such file"):
        recording_for(Path("b.txt"), tmp_path / "b.out")
