"""`ksmactors docs`: topics, the terminal's form, the pipe's form, the pager."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ksmactors
from ksmactors.cli import main
from ksmactors.cli.docs import documents, entries_of
from tests.helpers.terminal import on_terminal

PACKAGE = Path(ksmactors.__file__).parent


def test_without_a_topic_the_topics_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each document of the package is one line: its topic, and its title."""
    assert main(["docs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(documents())
    assert any(line.endswith("What ksmactors found in real kernels") for line in lines)


def test_topics_are_the_files_that_are_there() -> None:
    """A topic is listed if, and only if, its file is shipped."""
    assert set(documents()) == {path.stem for path in (PACKAGE / "docs").glob("*.md")}
    assert "findings" in documents()


def test_a_pipe_gets_the_source(capsys: pytest.CaptureFixture[str]) -> None:
    """Where standard output is no terminal the document is printed as it was written; --plain changes nothing."""
    source = (PACKAGE / "docs" / "findings.md").read_text()
    for args in (["docs", "findings"], ["docs", "findings", "--plain"]):
        assert main(args) == 0
        assert capsys.readouterr().out == source


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """--json: the topics with their titles, or one document."""
    assert main(["docs", "--json"]) == 0
    assert {"topic": "findings", "title": "What ksmactors found in real kernels"} in json.loads(capsys.readouterr().out)
    assert main(["docs", "findings", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "topic": "findings",
        "title": "What ksmactors found in real kernels",
        "text": (PACKAGE / "docs" / "findings.md").read_text(),
    }


@pytest.mark.parametrize("topic", ["findin", "../docs/findings", "findings.md", "", "S99", "stepp"])
def test_a_wrong_topic_is_one_line_that_lists_the_topics(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A topic that does not exist: status 2, one line, and the topics that do."""
    assert main(["docs", topic]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"ksmactors: no topic {topic!r}")
    assert captured.err.endswith(f"there are: {', '.join(documents())}\n")
    assert captured.err.count("\n") == 1


def test_a_label_shows_its_definition(capsys: pytest.CaptureFixture[str]) -> None:
    """A label of the protocol is found by itself, with the section and the columns of its table."""
    assert main(["docs", "ST3d"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "ST3d (protocol: Searching: stable_tree_search)"
    assert rest[0].startswith("  what happens: ")
    assert max(map(len, rest)) <= 110
    assert main(["docs", "G3", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["word"], row["topic"]) == ("G3", "protocol")
    assert row["columns"]["function"] == "`stable_tree_search`"
    assert row["columns"]["repaired in"] == "v4.4"


def test_a_function_shows_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A kernel function is found by its name, also where a row is about several."""
    assert main(["docs", "write_protect_page"]) == 0
    out = capsys.readouterr().out
    assert "write_protect_page (kernel-map: Merging)\n  here: `ksm/merging.py:write_protect_page`\n" in out
    assert main(["docs", "copy_one_pte"]) == 0
    assert "`mm/memory.py:copy_one_pte`" in capsys.readouterr().out


def test_a_term_shows_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    """A word of the glossary is found, too; the head of a table is no entry."""
    assert main(["docs", "keyhole"]) == 0
    assert capsys.readouterr().out.startswith("keyhole (protocol: Words of the kernel)\n  meaning: ")
    assert entries_of("what differs", documents()) == entries_of("---", documents()) == []


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("COW", "A write to a shared, read-only page"),
        ("cow", "A write to a shared, read-only page"),
        ("st3d", "An entry's page has equal content"),
        ("S4a'", "the switch from 0 to 1"),
        ("get_ksm_page", "get_ksm_page (protocol: The keyhole: get_ksm_page)\n  GK1: Read `kpfn`."),
        ("stable_tree_search", "(protocol: Searching: stable_tree_search)\n  ST1: The page is a KSM page"),
        ("mmap_sem", "  L3: ksmd holds at most one mmap_sem.\n"),
        ("ksm_thread_mutex", "  order: memory hotplug lock, `ksm_thread_mutex`, mmap_sem, page lock"),
        ("lock", "  L5: No actor sleeps under a spinlock.\n"),
        ("merge_across_nodes", "merge_across_nodes (protocol: sections that name it)\n"),
    ],
)
def test_a_word_in_any_form(word: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Any case, each name of a first cell and other names are found; a function has its steps, a lock its rules."""
    assert main(["docs", word]) == 0
    assert shown in capsys.readouterr().out


def test_a_knob_is_not_what_its_writer_does(capsys: pytest.CaptureFixture[str]) -> None:
    """A row about something else that has the word in its first cell is none about the word."""
    assert main(["docs", "merge_across_nodes"]) == 0
    assert "nmerges everything" not in capsys.readouterr().out


def test_a_near_miss_is_hinted_at(capsys: pytest.CaptureFixture[str]) -> None:
    """A word that is nearly one of the tables, or of the code, is suggested; and words are said to be accepted."""
    for word, near in (("get_ksm_pag", "get_ksm_page"), ("has_other_reference", "has_other_references")):
        assert main(["docs", word]) == 2
        error = capsys.readouterr().err
        assert f"(did you mean {near}" in error
        assert "a word of their tables will do, too" in error


def test_a_function_shows_what_a_variant_may_override(capsys: pytest.CaptureFixture[str]) -> None:
    """Seams and parts that it calls, those of its parts included, are listed with their arguments and places."""
    assert main(["docs", "write_protect_page", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    (inside,) = [one["columns"] for one in entries if one["section"].startswith("what a variant may override in")]
    about = inside["async def has_other_references(self, page: Frame, swapped: bool) -> bool"]
    assert about.startswith("Whether a page has references beside those of ")
    assert "(part, ksm/merging.py:" in about
    assert any(signature.startswith("async def write_protect_entry(") for signature in inside)
    assert not any("hlist_" in signature for signature in inside)


@pytest.mark.parametrize(
    ("word", "may"), [("has_other_references", "may"), ("page_check_address", "may"), ("hlist_add_head", "may not")]
)
def test_a_part_is_found_by_its_name(word: str, may: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Any seam, part or primitive says whether a variant may override it, and who calls it."""
    assert main(["docs", word]) == 0
    out = capsys.readouterr().out
    assert f"{word} (code: a variant {may} override it)\n" in out
    assert "  called by: " in out


@pytest.mark.slow
def test_a_terminal_gets_a_rendered_page_in_a_pager(tmp_path: Path) -> None:
    """On a terminal, what PAGER names reads the rendered document: coloured, unless NO_COLOR is set."""
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho paged\nexec cat\n")
    pager.chmod(0o755)

    status, said = on_terminal("docs", "estimate", cwd=tmp_path, PAGER=str(pager), COLUMNS="80")
    assert status == 0
    assert said.startswith("paged\n")
    assert "\x1b" not in said
    assert "# Estimate" not in said
    assert max(map(len, said.splitlines())) <= 80
    assert "which setting to choose for real memory" in said

    status, said = on_terminal("docs", "estimate", "--color", "always", cwd=tmp_path, PAGER=str(pager))
    assert status == 0
    assert "\x1b[" in said


@pytest.mark.slow
@pytest.mark.parametrize("pager", ["no-such-pager", "'never closed"])
def test_without_a_pager_the_page_is_printed(pager: str, tmp_path: Path) -> None:
    """A PAGER that is not there, or cannot be read, does not keep the document back."""
    status, said = on_terminal("docs", "estimate", cwd=tmp_path, PAGER=pager)
    assert status == 0
    assert "which setting to choose for real memory" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_plain_on_a_terminal_is_the_source(tmp_path: Path) -> None:
    """--plain holds for a terminal too: the source, and no pager."""
    status, said = on_terminal("docs", "estimate", "--plain", cwd=tmp_path, PAGER="false")
    assert status == 0
    assert said == (PACKAGE / "docs" / "estimate.md").read_text()
