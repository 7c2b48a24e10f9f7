"""Annotations and the summary of a step: escaped, within GitHub's limits, at the right place."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from ksmactors.ci.checks import Check, Status
from ksmactors.ci.github import SUMMARY_MAX, annotation_lines, markdown, summarize, summary
from ksmactors.ci.user_places import Workspace
from ksmactors.escaping import escaped, inert, inert_json
from tests.ci.made_up import HOSTILE, checks, defect, found

COMMANDS = frozenset({"error", "warning", "stop-commands"})


def parsed(line: str) -> tuple[str, dict[str, str], str] | None:
    """A line as the runner of GitHub Actions reads it: the command, its properties and its text. None if it is none.

    As in ActionCommand.cs of actions/runner.
    """
    match = re.match(r"\s*::(?P<command>[^ :]+)(?: (?P<properties>.*?))?::(?P<text>.*)", line, re.DOTALL)
    if match is None or match["command"] not in COMMANDS:
        return None
    pairs = dict(part.split("=", 1) for part in (match["properties"] or "").split(",") if "=" in part)
    codes = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}

    def plain(text: str) -> str:
        for code, character in codes.items():
            text = text.replace(code, character)
        return text

    return match["command"], {key: plain(value) for key, value in pairs.items()}, plain(match["text"])


def failed(number: int, **more: str) -> Check:
    return Check("stress", f"check {number}", Status.FAILED, "m", found=found(defect(**more)))


def test_the_runner_reads_what_was_meant(tmp_path: Path) -> None:
    """Each line is one command, whatever is in its texts, and the runner gets back what was put in."""
    lines = list(annotation_lines(checks(), Workspace(tmp_path)))
    assert not any("\n" in line or "\r" in line for line in lines)
    read = [parsed(line) for line in lines]
    assert [one[0] for one in read if one] == ["error", "error", "error", "warning"]
    assert read[1] is not None
    assert read[1][1] == {"title": escaped(HOSTILE)}
    assert read[1][2].startswith("</failure>]]> {0} [x](http://example.org) `|` <b>&\\x00\\x1b[31m")
    assert read[1][2].endswith("##[error]x 100%")


def test_the_line_of_the_user(tmp_path: Path) -> None:
    """A finding at a line of a file of the repository is there; the path of one with a comma is escaped."""
    source = tmp_path / "a,b.py"
    source.write_text("\n")
    (line,) = annotation_lines([failed(1, place=f"{source}:7")], Workspace(tmp_path))
    assert line.startswith("::error file=a%2Cb.py,line=7,title=check 1::")
    assert parsed(line) == ("error", {"file": "a,b.py", "line": "7", "title": "check 1"}, "m")


@pytest.mark.parametrize(("checked", "shown", "left"), [(10, 10, 0), (11, 10, 2), (500, 10, 491)])
def test_at_most_ten(checked: int, shown: int, left: int, tmp_path: Path) -> None:
    """GitHub shows ten errors of a step; where there are more, the tenth says how many are left."""
    lines = list(annotation_lines([failed(number) for number in range(checked)], Workspace(tmp_path)))
    assert len(lines) == shown
    assert lines[-1].startswith(f"::error title=ksmactors::{left} more") is (left > 0)


def test_what_passed_is_no_annotation(tmp_path: Path) -> None:
    """Neither is a finding that was expected."""
    known = Check("replay", "x.json", Status.PASSED, "m", found=found(), expected=True)
    assert list(annotation_lines([known], Workspace(tmp_path))) == []


def test_the_summary_holds_no_markup(tmp_path: Path) -> None:
    """Cells show their text: once entities are read, nothing is left that Markdown or HTML would take as its own."""
    text = summary("stress", checks(), Workspace(tmp_path))
    assert text.startswith("### ksmactors stress: 1 passed, 2 failed, 1 crashed, 1 inconclusive\n")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 5
    assert all(row.count("|") == 5 for row in rows)
    assert not re.search(r"<(?!br>|/?code>)|`|\[|\\|\*|_|@|http:", "".join(rows))
    assert unescape(markdown(HOSTILE)) == escaped(HOSTILE)


def test_a_summary_is_appended(tmp_path: Path) -> None:
    """What another command has written stays."""
    file = tmp_path / "summary"
    for _ in range(2):
        assert summarize(file, "stress", checks(), Workspace(tmp_path)) == ""
    assert file.read_text() == 2 * summary("stress", checks(), Workspace(tmp_path))


def test_a_summary_is_not_too_large(tmp_path: Path) -> None:
    """GitHub shows nothing of a summary above 1 MiB. One alone stays below, and none goes beyond."""
    long = [
        Check("stress", "*" * 9999, Status.FAILED, "*" * 9999, found=found(workload="*" * 9999)) for _ in range(999)
    ]
    assert len(summary("stress", long, Workspace(tmp_path)).encode()) < SUMMARY_MAX
    file = tmp_path / "summary"
    file.write_bytes(b"x" * (SUMMARY_MAX - 10))
    assert "would be larger" in summarize(file, "stress", checks(), Workspace(tmp_path))
    assert file.stat().st_size == SUMMARY_MAX - 10


@pytest.mark.parametrize("name", ["missing/file", ".", "link", "nul\0"])
def test_a_summary_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    """It is one line about it; a link is not followed."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    path = tmp_path / name
    assert "cannot be written" in summarize(path, "stress", checks(), Workspace(tmp_path))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("::error::x", r"\x3a:error::x"),
        (" \t::error::x\n::warning::y", " \t\\x3a:error::x\n\\x3a:warning::y"),
        ("a ::error::x", "a ::error::x"),
        ("a ##[error]x", r"a \x23#[error]x"),
        ("# [x] : :", "# [x] : :"),
    ],
)
def test_text_is_no_command(text: str, shown: str) -> None:
    """What a step prints beside annotations cannot be a command to the runner."""
    assert inert(text) == shown


def test_json_stays_the_same() -> None:
    """JSON without commands says the same."""
    from json import loads

    text = '{"a": "##[error]x ::error::"}'
    assert "##[" not in inert_json(text)
    assert loads(inert_json(text)) == loads(text)
