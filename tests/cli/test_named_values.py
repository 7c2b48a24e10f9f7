"""Messages name what the user gave, in the words that the user has."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksmactors.cli import main

Capsys = pytest.CaptureFixture[str]

IDLE = "from ksmactors.strategy import Strategy\n\nclass S2(Strategy):\n    name = 's2'\n    summary = 'nothing'\n"


def refused(line: str, capsys: Capsys) -> str:
    """The one line that a command refuses with."""
    assert main(line.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize("command", ["run numa_pingpong", "stress numa_pingpong", "explore numa_pingpong"])
def test_a_parameter_is_given_once(command: str, capsys: Capsys) -> None:
    """The last one does not win silently."""
    line = f"{command} -p merge_across_nodes=0 -p merge_across_nodes=1"
    assert "-p merge_across_nodes: is given twice, as '0' and '1'; give it once" in refused(line, capsys)


def test_a_class_of_a_file_is_named_as_it_was_given(tmp_path: Path, capsys: Capsys) -> None:
    """The name that its module has inside is nobody's business."""
    file = tmp_path / "p.py"
    file.write_text(IDLE)
    said = refused(f"run numa_pingpong --strategy {file}:S2", capsys)
    assert said == f"ksmactors: strategy {file}:S2 has no choose\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("run numa_pingpong --seed x", "'x' is not a whole number from 0 to "),
        ("run numa_pingpong --seed -1", "'-1' is not a whole number from 0 to "),
        ("run numa_pingpong --nodes 0", "'0' is not a whole number from 1 to "),
        ("conform --random x", "'x' is not a whole number from 1; "),
        ("conform --random 1 --seed x", "'x' is not a whole number from 0; "),
        ("analyze x --page x", "'x' is not a whole number from 0 to "),
        ("stress --jobs 0", "'0' is not a whole number from 1 to "),
        ("estimate x --top 1.5", "'1.5' is not a whole number from 0; "),
    ],
)
def test_a_whole_number_is_asked_for_in_words(line: str, says: str, capsys: Capsys) -> None:
    """Not for "a valid integer range"."""
    assert says in refused(line, capsys)


def test_parameters_of_another_campaign_are_written_as_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    """KEY=VALUE, not as a dictionary of Python."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    stress = f"stress numa_pingpong --jobs 1 --seeds 1 -q --out {tmp_path / 'out'}"
    assert main(f"{stress} -p merge_across_nodes=1".split()) == 0
    capsys.readouterr()
    said = refused(f"{stress} -p merge_across_nodes=0 --resume", capsys)
    assert "its params is merge_across_nodes=1, not merge_across_nodes=0" in said
