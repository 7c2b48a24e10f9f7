"""The scenario language: what is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksmactors.conformance.emulator_driver import OPERATIONS
from ksmactors.conformance.language import FORMS, Comment, Operation, parse, read_scenario
from ksmactors.errors import USAGE, ScenarioError

START = "proc A\nmap A r 4 node 1\n"


def last(text: str) -> Operation:
    """The last operation of a scenario that starts with process A and its region r of 4 pages."""
    return list(parse(START + text).operations)[-1]


def test_comments_in_column_one_are_kept_and_others_dropped() -> None:
    """A comment in column 1 is part of the results; indented ones and empty lines are not."""
    scenario = parse("# kept\n\n  # dropped\nproc A\n#kept, too")
    assert (Comment(1, "# kept"), Comment(5, "#kept, too")) == (scenario.lines[0], scenario.lines[2])
    assert len(scenario.lines) == 3


def test_an_operation_on_one_page_covers_that_page() -> None:
    """INDEX becomes the range of one page, with the token beside it."""
    assert Operation(
        "fill", 3, "fill A r 2 7", process="A", region="r", first=2, end=3, token=7
    ) == last("fill A r 2 7")  # fmt: skip


@pytest.mark.parametrize(("text", "pages"), [("mergeable A r", (0, 4)), ("mergeable A r 1 3", (1, 3))])
def test_a_range_may_be_left_out(text: str, pages: tuple[int, int]) -> None:
    """madvise and munmap are about the whole region unless pages are given."""
    operation = last(text)
    assert pages == (operation.first, operation.end)


@pytest.mark.parametrize(
    ("text", "flags"),
    [("trace 2", ()), ("trace 2 frames", ("frames",)), ("trace 2 trees", ("trees",)),
     ("tracescan 2 frames trees", ("frames", "trees")), ("drain", ()), ("drain off", ("off",))],
)  # fmt: skip
def test_optional_words_become_flags(text: str, flags: tuple[str, ...]) -> None:
    """Each optional word can be there or not."""
    assert flags == last(text).flags


def test_an_optional_node_is_told_from_node_0() -> None:
    """A region without a node is not the same as one on node 0."""
    assert [operation.node for operation in parse(START + "map A s 1").operations if operation.name == "map"] == [1, -1]


def test_a_fork_has_the_regions_of_its_parent() -> None:
    """The child's pages can be named at once; what is mapped in it later is its own."""
    parse(START + "fork A B\nfill B r 3 1\nmap B s 1\nfill B s 0 1")
    with pytest.raises(ScenarioError, match="process A has no region 's'"):
        parse(START + "fork A B\nmap B s 1\nfill A s 0 1")


def test_mremap_renames_a_region() -> None:
    """The old name is free afterwards, the new one has the pages."""
    parse(START + "mremap A r s\nfill A s 3 1\nmap A r 1")
    with pytest.raises(ScenarioError, match="no region 'r'"):
        parse(START + "mremap A r s\nfill A r 0 1")


def test_an_exited_process_is_unknown() -> None:
    """After exit the name can be used for a new process only."""
    with pytest.raises(ScenarioError, match=r"^scenario:4: no process 'A' here; start it with: proc A$"):
        parse(START + "exit A\nfill A r 0 1")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("migrat A r 0 1", "unknown operation 'migrat'; near it: migrate, migrate1"),
        ("zzzzzz", "unknown operation 'zzzzzz'; there are: requires, proc"),
        ("fill A r 0", "too few arguments; write: fill PROC REGION INDEX TOKEN"),
        ("fill A r 0 1 2", "'2' is one argument too many"),
        ("trace 3 leaves", "'leaves' is one argument too many, or not what is expected there; write: trace N [frames]"),
        ("map A s 2 node", "too few arguments; write: map PROC NEWREGION PAGES [node NODE]"),
        ("fill B r 0 1", "no process 'B' here; there are A, or start it with: proc B"),
        ("fill A s 0 1", "process A has no region 's'; there are r, or map it with: map A s PAGES"),
        ("fill A r 4 1", "region A r has no page 4; its 4 pages are 0 to 3"),
        ("fillrange A r 2 5 1", "region A r has no page 4"),
        ("read A r 2 2", "pages 2 up to but not including 2 are an empty range"),
        ("fill A r x 1", "INDEX must be a decimal number, not 'x'"),
        ("fill A r 0 -1", "TOKEN must be a decimal number, not '-1'"),
        ("fill A r 0 18446744073709551616", "TOKEN 18446744073709551616 is too large; at most 18446744073709551615"),
        ("map A s 0", "region s would have no pages"),
        ("map A s 9999999999", "PAGES 9999999999 is too large"),
        ("map A r 1", "there is a region of A named r already"),
        ("proc A", "there is a process named A already"),
        ("proc A.b", "'A.b' is not a name for a process"),
        ("fork A A", "there is a process named A already"),
        ("requires nodes", "write: requires nodes N, requires knob KNOB, or requires swap"),
        ("requires swap 1", "write: requires nodes N, requires knob KNOB, or requires swap"),
        ("requires magic 1", "'magic' is not nodes or knob or swap"),
        ("reclaim lots", "'lots' is not a size"),
        ("step \u0661", "N must be a decimal number"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_refused_with_its_place_and_a_remedy(line: str, message: str) -> None:
    """Bad input is one line: file, line number, what is wrong, what to do."""
    with pytest.raises(ScenarioError) as caught:
        parse(START + line, origin="x.txt")
    assert str(caught.value).startswith(f"x.txt:3: {message}")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == USAGE


@pytest.mark.parametrize(
    "line",
    [
        "{}", "check {} r 0 1", "check A {} 0 1", "step {}", "fork A {}-", "hold {} at x", "hold ksmd at {}",
        "proc B {}", "scan 1 {}", "reclaim {}", "set run 1 {}", "bg {}",
    ],
)  # fmt: skip
def test_a_long_word_is_not_repeated(line: str) -> None:
    """The message stays one that can be read."""
    with pytest.raises(ScenarioError) as caught:
        parse(START + line.format("x" * 1_000_000), origin="x.txt")
    assert len(str(caught.value)) < 2000


def test_a_scenario_without_operations_is_refused() -> None:
    """An empty file is a mistake, not a scenario that agrees with everything."""
    with pytest.raises(ScenarioError, match="no operation in it"):
        parse("# nothing\n")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    """Missing files, directories and binary files are named."""
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe")
    for path, reason in [(tmp_path / "none.txt", "No such file"), (tmp_path / "binary.txt", "not UTF-8")]:
        with pytest.raises(ScenarioError, match=reason):
            read_scenario(path)


def test_every_operation_can_be_performed() -> None:
    """No operation is known to the parser alone."""
    assert set(FORMS) == set(OPERATIONS)
