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


@pytest.mark.slow
def test_a_terminal_gets_a_rendered_page_in_a_pager(tmp_path: Path) -> None:
    """On a terminal, what PAGER names reads the rendered document: coloured, unless NO_COLOR is set."""
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho paged\nexec cat\n")
    pager.chmod(0o755)

    status, said = on_terminal("docs", "findings", cwd=tmp_path, PAGER=str(pager), COLUMNS="80")
    assert status == 0
    assert said.startswith("paged\n")
    assert "\x1b" not in said
    assert "# What ksmactors" not in said
    assert max(map(len, said.splitlines())) <= 80
    assert "What ksmactors found in real kernels" in said

    status, said = on_terminal("docs", "findings", "--color", "always", cwd=tmp_path, PAGER=str(pager))
    assert status == 0
    assert "\x1b[" in said


@pytest.mark.slow
@pytest.mark.parametrize("pager", ["no-such-pager", "'never closed"])
def test_without_a_pager_the_page_is_printed(pager: str, tmp_path: Path) -> None:
    """A PAGER that is not there, or cannot be read, does not keep the document back."""
    status, said = on_terminal("docs", "findings", cwd=tmp_path, PAGER=pager)
    assert status == 0
    assert "What ksmactors found in real kernels" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_plain_on_a_terminal_is_the_source(tmp_path: Path) -> None:
    """--plain holds for a terminal too: the source, and no pager."""
    status, said = on_terminal("docs", "findings", "--plain", cwd=tmp_path, PAGER="false")
    assert status == 0
    assert said == (PACKAGE / "docs" / "findings.md").read_text()
