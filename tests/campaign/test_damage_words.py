"""What is wrong with a damaged store is said in words of its own, with what to do."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path
from random import Random

import pytest

from ksmactors.campaign.damage import REMEDY
from ksmactors.cli import main

FOREIGN = re.compile(r"malformed|syntax error|line \d+ column|codec|database disk|unrecognized|Could not|NoneType")
"""Words of SQLite, orjson and Python."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a campaign that has found something."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert main([
        "stress", "exit_race", "--without", "ksm-page-migration", "--seeds", "8", "--jobs", "1", "--quiet",
        "--out", str(out),
    ]) in (0, 1)  # fmt: skip
    return out / "campaign.sqlite"


def said(data: bytes, place: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `campaign` says about a store with these bytes; empty if it can be read."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "campaign.sqlite").write_bytes(data)
    status = main(["campaign", str(place), "--json"])
    err = capsys.readouterr().err
    assert status == 2 or not err
    return err


@pytest.mark.parametrize("part", [0.001, 0.1, 0.3])
def test_a_store_that_is_cut_off(part: float, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """How much is left is said, and what to do."""
    data = store.read_bytes()
    left = data[: int(len(data) * part)]

    words = said(left, tmp_path / "x", capsys)

    assert f"it is cut off after {len(left)} bytes" in words or f"it is cut off: {len(left):,} of" in words
    assert words.endswith(f"; {REMEDY}\n")


def test_changed_bytes(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No change of bytes has the words of a library."""
    whole, rng, heard = store.read_bytes(), Random(1), 0
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 5, 50])):
            data[rng.randrange(100, len(data))] ^= 1 << rng.randrange(8)
        words = said(bytes(data), tmp_path / "x", capsys)
        heard += bool(words)
        assert not FOREIGN.search(words), words
    assert heard > 10


@pytest.mark.parametrize(("value", "words"), [("'{junk'", "not JSON"), ("x'00ff13'", "not")])
def test_a_text_that_is_not_json(
    value: str, words: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row that does not decode is said to be one."""
    changed = tmp_path / "changed"
    shutil.copy(store, changed)
    database = sqlite3.connect(changed)
    database.execute(f"UPDATE about SET value = {value}")
    database.commit()
    database.close()

    heard = said(changed.read_bytes(), tmp_path / "x", capsys)

    assert f"a text in it is {words}" in heard
    assert not FOREIGN.search(heard)
