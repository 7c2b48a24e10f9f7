"""`replay --explain` as a person and a script see it: on a terminal of 80 columns, as JSON, with hostile files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import ksmactors
from ksmactors.cli import main
from tests.helpers.stepping import shrunk_finding
from tests.helpers.terminal import on_terminal

Capsys = pytest.CaptureFixture[str]

STYLE = re.compile(r"\x1b\[[0-9;]*m")
PLAIN_STYLES = {"0", "1", "2", "31", "1;31", "1;2"}
"""Reset, bold, dim and the basic red: readable on light and on dark."""

EVIL = "\x1b]0;title\x07\u202e\x9b2J"


DIFFERENCE = [
    "what made the difference:",
    (
        "  migrationd/1 reads refcount/2 in migrate_page_move_mapping for the 2nd time before "
        "ksmd writes refcount/2 in get_ksm_page"
    ),
    "  ksmd reads mapping/2 in get_ksm_page for the 4th time before migrationd/1 writes kpfn/1 in ksm_migrate_page",
    "  enforced alone in 50 random schedules: 50 fail (without them: 4)",
]
"""What `shrink --cause` writes into the file. The document shows the same sentences."""


@pytest.fixture(scope="module")
def finding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finding file of S5e that the document has: shrunk, with what made the difference."""
    file = shrunk_finding(tmp_path_factory.mktemp("findings"))
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "made_the_difference": {"lines": DIFFERENCE}}))
    return file


def test_what_shrink_writes(finding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """`shrink --cause` finds the orders that the document shows. Fewer random schedules than by default tell as much:
    only the numbers in the last sentence differ. The document's example repeats this with all of them."""
    monkeypatch.setattr("ksmactors.diagnose.cause.SCHEDULES", 8)
    assert main(["shrink", str(finding), "--cause", "--quiet", "--out", str(tmp_path)]) == 1
    assert "1 departure of 1 left, 301 steps; " in capsys.readouterr().out
    (file,) = tmp_path.iterdir()
    *orders, share = json.loads(file.read_text())["made_the_difference"]["lines"]
    assert orders == DIFFERENCE[:-1]
    assert share.startswith("  enforced alone in 8 random schedules: 8 fail (")


def transcript() -> str:
    """What the document says that the terminal shows."""
    text = (Path(ksmactors.__file__).parent / "docs" / "findings.md").read_text()
    return text.partition("--explain 2>/dev/null\n")[2].partition("```")[0]


def test_s5e_on_a_terminal_of_80_columns(finding: Path) -> None:
    """The terminal shows what the document shows, in 80 columns, in styles that suit light and dark."""
    status, got = on_terminal(
        "replay", str(finding), "--explain", "--quiet", cwd=finding.parent, COLUMNS="80", NO_COLOR=""
    )
    assert status == 1
    used = {style[2:-1] for style in STYLE.findall(got)}
    assert "1;31" in used
    assert used <= PLAIN_STYLES
    lines = [line.rstrip() for line in STYLE.sub("", got).splitlines()]
    table = lines[lines.index("  default order") - 2 :]
    assert table == transcript().splitlines()
    assert max(map(len, table)) <= 80


def test_the_width_of_the_terminal(finding: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """COLUMNS says how wide the table is; without a terminal it has 80 columns."""
    widest = {}
    for columns in ("40", "100", ""):
        monkeypatch.setenv("COLUMNS", columns)
        assert main(["replay", str(finding), "--explain", "--quiet"]) == 1
        widest[columns] = max(map(len, capsys.readouterr().out.splitlines()))
    assert widest["40"] <= 40
    assert 80 < widest["100"] <= 100
    assert 60 < widest[""] <= 80


def test_the_log_is_not_shown(finding: Path, capsys: Capsys) -> None:
    """Standard output has the table alone, and with `--log -` the events too."""
    assert main(["replay", str(finding), "--explain"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("lifetime/null_dereference@stable_tree_append\n")
    assert "run.start" not in out
    assert main(["replay", str(finding), "--explain", "--log", "-"]) == 1
    out = capsys.readouterr().out
    assert '"event":"run.start"' in out
    assert "The promise that broke:" in out


def test_json(finding: Path, capsys: Capsys) -> None:
    """The object has the rows, sentences and orders under `explained`."""
    assert main(["replay", str(finding), "--explain", "--json"]) == 1
    content: dict[str, Any] = json.loads(capsys.readouterr().out)["explained"]
    assert content["actors"] == ["ksmd", "migrationd/1"]
    operations = [done for row in content["rows"] if "actor" in row for done in row["operations"]]
    assert [done["marks"] for done in operations if done["met"]] == [["first"], ["then"]]
    assert content["made_the_difference"] == json.loads(finding.read_text())["made_the_difference"]["lines"]
    assert content["signature"] == "lifetime/null_dereference@stable_tree_append"
    assert content["schedule"].startswith("ksm2:")
    assert main(["replay", content["schedule"], "--explain", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["explained"]["rows"] == content["rows"]


@pytest.mark.parametrize(
    "difference",
    [{"lines": [EVIL * 50, f"  {EVIL}"] * 1000}, {"lines": [1]}, {"lines": {}}, [], EVIL, 7, None, {"orders": []}],
    ids=["evil", "numbers", "object", "list", "text", "number", "null", "no lines"],
)
def test_a_hostile_file(finding: Path, tmp_path: Path, difference: object) -> None:
    """What a file says in the place of sentences is shown escaped and cut, or not at all."""
    content = json.loads(finding.read_text())
    path = tmp_path / "evil.json"
    path.write_text(json.dumps({**content, "made_the_difference": difference, "message": EVIL, "story": [EVIL]}))
    status, got = on_terminal("replay", str(path), "--explain", "--quiet", cwd=tmp_path, COLUMNS="80")
    assert status == 1
    assert not any(character in got for character in "\x1b\x07\u202e\x9b")
    assert got.count("\n") < 250


@pytest.mark.parametrize("text", ["", "{}", '{"schedule": 1}', "ksm2:AAAA", "no schedule\x1b[2J", "[" * 100_000])
def test_nonsense(text: str, tmp_path: Path, capsys: Capsys) -> None:
    """What is no finding gets one line, and nothing on standard output."""
    path = tmp_path / "nonsense.json"
    path.write_text(text)
    assert main(["replay", str(path), "--explain"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "\x1b" not in err
