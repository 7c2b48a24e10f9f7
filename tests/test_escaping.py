"""What messages quote is cut in one place."""

from __future__ import annotations

from pathlib import Path

import pytest
from typing_extensions import override

from ksmactors.cli import main
from ksmactors.escaping import ascii_json, described, quoted, shortened, shortened_words
from ksmactors.interleave.schedule_string import PREFIX


class Mute(Exception):
    """Cannot say what it is."""

    @override
    def __str__(self) -> str:
        raise LookupError

    __repr__ = __str__


LONG = "a" * 100_000


def test_a_long_text_is_cut_and_says_so() -> None:
    """Short ones are as they were."""
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "abc..."
    assert quoted("it's") == '"it\'s"'
    assert quoted("abcd", 3) == "'abc'..."
    assert quoted(None) == "None"
    assert len(quoted([LONG])) < 200
    assert shortened_words("aaaa bb", 3) == "aaa... bb"


def test_a_schedule_string_stays_whole() -> None:
    """It is in a message to be copied."""
    for line in (f"again: replay {PREFIX}{LONG}", f"again: replay '{PREFIX}{LONG}'"):
        assert shortened_words(line) == line


def test_what_cannot_be_said_is_said() -> None:
    """An object whose class has no text for it is named all the same."""
    assert described(Mute()) == "Mute: (its text cannot be had: __str__ raised LookupError)"
    assert quoted(Mute()).startswith("<tests.test_escaping.Mute object at ")
    assert described(ValueError("text")) == "ValueError: text"


def test_json_in_ascii_is_the_same() -> None:
    """Characters beyond the first plane are two escapes."""
    assert ascii_json('"\u2192\U0001f600"') == '"\\u2192\\ud83d\\ude00"'


@pytest.mark.parametrize(
    "line",
    [
        "estimate LONG", "run LONG", "run scenario -p LONG=1", "run scenario -p pages=LONG", "run scenario --with LONG",
        "run scenario --kernel LONG", "run scenario --seed LONG", "run scenario --inject LONG", "corpus LONG",
        "run scenario --watch LONG", "stress --seeds LONG", "stress --strategy LONG", "stress --shard LONG", "LONG",
        "conform LONG", "reproduce LONG", "analyze LONG", "report LONG --html x", "campaign LONG",
        "campaign merge LONG LONG --out LONG",
    ],
)  # fmt: skip
def test_no_message_echoes_a_long_word(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is given, the message is of a size that can be read; a name that is too long is no defect of ours."""
    assert main([word.replace("LONG", LONG) for word in line.split()]) == 2
    assert 0 < len(capsys.readouterr().err) < 5_000


@pytest.mark.parametrize("command", ["conform", "reproduce", "replay", "analyze", "shrink"])
@pytest.mark.parametrize("text", ["[" * 100_000, f"proc {LONG}\nfill {LONG} r 0 1\n", f"hold {LONG} at x\n"])
def test_no_message_echoes_a_long_word_of_a_file(
    command: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of another person does not fill the screen."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = tmp_path / "file"
    file.write_text(text)
    assert main([command, str(file)]) == 2
    assert 0 < len(capsys.readouterr().err) < 1_000
